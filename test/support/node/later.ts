import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./guide.ts";

/** The version of the partywall that makeLater() makes. */
export const LATER = "99.0.0";

/** What a product has to say from that version on, and where. */
export const DEMANDED = { file: "src/product/plans.ts", line: 'export const PLAN_MOTTO = "later";\n' };

/**
 * Makes a later partywall of a checkout: all that a version may change beside what an adopter edits. It has a migration of
 * each lineage, a route, a setting, a member that it demands of the product, and another sample with a resource more.
 */
export async function makeLater(folder: string): Promise<void> {
  const edit = (file: string, found: string | RegExp, replacement: string) => {
    const before = readFileSync(join(folder, file), "utf8");
    const after = before.replace(found, replacement);
    if (after === before) throw new Error(`${file} has no ${found}: test/support/node/later.ts asks for it.`);
    writeFileSync(join(folder, file), after);
  };
  const generate = (lineage: string, name: string) =>
    run(folder, "npm", ["run", "db:generate", "--", "--name", name], { LINEAGE: lineage });

  edit("package.json", /"version": "[^"]*"/, `"version": "${LATER}"`);
  edit("package-lock.json", /"version": "[^"]*"/, `"version": "${LATER}"`);
  edit(
    "CHANGELOG.md",
    "# Changelog\n",
    `# Changelog\n\n## [${LATER}]\n\nA product says \`PLAN_MOTTO\` in plans.ts.\n`,
  );

  edit(
    "src/db/control.ts",
    '    slug: text("slug").notNull(),\n',
    '$&    motto: text("motto").default("later"),\n',
  );
  await generate("control", "motto");
  edit("src/db/site.ts", '    reason: text("reason"),\n', '$&    motto: text("motto"),\n');
  await generate("site", "motto");

  edit("src/settings.ts", "  API_NAME: [", '  MOTTO: [v.optional(v.string(), ""), "a motto"],\n$&');
  edit("wrangler.toml", /^BROWSER_SESSIONS = .*\n/gm, '$&MOTTO = "from wrangler.toml"\n');
  edit(
    "wrangler.toml",
    /^\[triggers\]\n/m,
    '[[r2_buckets]]\nbinding = "MOTTOS"\nbucket_name = "mottos"\n\n$&',
  );
  writeFileSync(join(folder, "src/edge/motto.ts"), MOTTO);
  edit("src/app.ts", "import { logged }", 'import { motto } from "./edge/motto.ts";\n$&');
  edit("src/app.ts", "  .use(observe, ", "  .use(motto, observe, ");

  edit("README.md", /^.+\n\n/m, "$&It is later now.\n\n");
  edit(DEMANDED.file, /$/, `\n${DEMANDED.line}`);
  edit("src/product/projects.ts", /$/, "\n// Later.\n");
  edit("src/product/schema.ts", /$/, COMMENTS);
  edit("src/product/routes.ts", "export const", "// Later.\n$&");
  writeFileSync(join(folder, "src/product/comments.ts"), 'export { comments } from "./schema.ts";\n');
  writeFileSync(join(folder, "test/product/comments.test.ts"), 'import "../../src/product/comments.ts";\n');
  edit("test/product/projects.test.ts", /$/, "\n// Later.\n");
  await generate("content", "comments");
}

const MOTTO = `import { factory } from "../context.ts";
import { bindings, settings } from "../env.ts";
import { PLAN_MOTTO } from "../product/plans.ts";

/** Says in each answer what a later partywall has: a setting, a binding, and what the product says. */
export const motto = factory.createMiddleware(async function motto(c, next) {
  await next();
  c.header("X-Motto", \`\${settings.MOTTO}, \${PLAN_MOTTO}, \${typeof bindings.MOTTOS}\`);
});
`;

const COMMENTS = `
export const comments = tenantTable("comments", { text: text("text").notNull() }, (t) => [
  index("comments_newest").on(t.tenant_id, t.created_at, t.id),
]);
`;
