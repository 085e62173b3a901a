import { neon } from "@neondatabase/serverless";
import { inject } from "vitest";
import { contextKeyOf } from "../../src/db/derived.ts";
import { CONTROL, placeOf, SHARED_SITE, type Place } from "../../src/db/places.ts";
import { settings } from "../../src/env.ts";
import { login } from "./client.ts";

// Where this run's tenants have their content: at the shared site, in a schema of its own, or in a database of its own.

const made = inject("site");

export const SITE = made?.site ?? SHARED_SITE;
export const PLACE = placeOf(SITE);

const [controlKey] = settings.TENANT_CONTEXT_KEYS;
const siteKey = SITE.database === null ? controlKey : contextKeyOf(settings.SITE_KEYS, SITE);

/** What signs a context for a place. */
export const keyOf = (place: Place) => (place === CONTROL ? controlKey : siteKey);

type Logins = Record<"app" | "courier" | "migrator" | "stage", ReturnType<typeof neon<false, false>>>;

/** The logins at the site; `stage` is a superuser's, whom no wall binds. */
export const AT_SITE: Logins = {
  app: made ? neon(made.app) : login("DATABASE_URL"),
  courier: made ? neon(made.courier) : login("ACCOUNT_DATABASE_URL"),
  migrator: made ? neon(made.migrator) : login("MIGRATION_DATABASE_URL"),
  stage: made ? neon(made.stage) : login("STAGE_DATABASE_URL"),
};

/** SQL that was written for schema `public`, for the site's. */
export const atSite = (sql: string): string =>
  sql.replaceAll(/\bpublic(?=[.'])|(?<=pg_temp, )public\b/g, PLACE.schema);
