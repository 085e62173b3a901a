import type pg from "pg";
import { withFleet } from "./fleet.ts";

/** What --neon-project takes to say that a site is in none. */
const NONE = "none";

/**
 * The id of a Neon project, or null for "none", of a site at this server. Throws a sentence for anything else, and for a site at
 * the control plane's own server: what that uses is of all its tenants.
 */
export function neonProjectOf(text: string, server: string | null): string | null {
  if (text === NONE) return null;
  if (!/^[a-z0-9][a-z0-9-]{0,59}$/.test(text))
    throw new Error(`${text} is no id of a Neon project, such as delicate-dawn-54854667, nor ${NONE}.`);
  if (server === null)
    throw new Error(
      "The site is at the control plane's own server. What its Neon project uses is of all tenants there, so it is named for no site.",
    );
  return text;
}

/** Writes down which Neon project the site is in. */
export const writeNeonProject = (control: pg.ClientBase, name: string, project: string | null) =>
  control.query("update control.sites set neon_project = $2 where name = $1", [name, project]);

/** Says of a site which Neon project it is in. Returns what was done, in a sentence. Throws one if it cannot be so. */
export const setNeonProject = (
  name: string,
  text: string,
  variables: { MIGRATION_DATABASE_URL: string },
): Promise<string> =>
  withFleet(variables, async (control) => {
    const { rows } = await control.query<{ server: string | null }>(
      "select server from control.sites where name = $1",
      [name],
    );
    const [site] = rows;
    if (!site) throw new Error(`There is no site ${name}. \`npm run tenants -- site list\` names them.`);
    const project = neonProjectOf(text, site.server);
    await writeNeonProject(control, name, project);
    return project === null
      ? `The site ${name} is in no Neon project that is known.`
      : `The site ${name} is in the Neon project ${project}.`;
  });
