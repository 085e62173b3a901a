import { defineConfig } from "drizzle-kit";

/** What each lineage of migrations is made from. Yours is `content`; the others are partywall's own. */
const SCHEMAS: Record<string, string> = {
  control: "./src/db/control.ts",
  site: "./src/db/site.ts",
  content: "./src/product/schema.ts",
};

const lineage = process.env["LINEAGE"] ?? "content";
const schema = SCHEMAS[lineage];
if (!schema) throw new Error(`LINEAGE is one of ${Object.keys(SCHEMAS).join(", ")}, not ${lineage}.`);

export default defineConfig({ dialect: "postgresql", schema, out: `./drizzle/${lineage}` });
