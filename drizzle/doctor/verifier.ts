import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const migrations = ["control", "site"]
  .flatMap((lineage) => globSync(join(import.meta.dirname, "..", lineage, "*.sql")).sort())
  .map((path) => readFileSync(path, "utf8"))
  .join("\n");

/**
 * The functions that read the signed context, as the migrations leave them: `(name, sha256 of its source, mend)`. The
 * mend gives them to the roles that need to run them.
 */
export const VERIFIERS = [
  verifier("current_tenant_id", "partywall_app, partywall_identity"),
  verifier("current_actor_id", "partywall_app, partywall_identity"),
  verifier("context_tenant_id", "partywall_identity, partywall_operator"),
  verifier("audit_row"),
].join(", ");

function verifier(name: string, roles?: string): string {
  const definition = new RegExp(`FUNCTION (?:public\\.)?(${name}\\(\\)[^$]*) AS \\$\\$(.*?)\\$\\$`, "gs");
  const [, head, source] = [...migrations.matchAll(definition)].at(-1) ?? [];
  if (head === undefined || source === undefined) throw new Error(`No migration makes ${name}().`);
  const hash = createHash("sha256").update(source).digest("hex");
  // On one line, and yet the same to the letter.
  const body = `E${quoted(source.replaceAll("\\", "\\\\")).replaceAll("\n", "\\n").replaceAll("\t", "\\t")}`;
  const signature = `public.${name}()`;
  const mend = [
    `CREATE OR REPLACE FUNCTION public.${head.replaceAll(/\s+/g, " ")} AS ${body}`,
    `ALTER FUNCTION ${signature} OWNER TO partywall_owner`,
    `REVOKE ALL ON FUNCTION ${signature} FROM PUBLIC`,
    ...(roles ? [`GRANT EXECUTE ON FUNCTION ${signature} TO ${roles}`] : []),
  ].join("; ");
  return `(${quoted(name)}, ${quoted(hash)}, ${quoted(mend)})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
