import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SHARED_SITE } from "../../src/db/places.ts";

const migrations = ["control", "site"]
  .flatMap((lineage) => globSync(join(import.meta.dirname, "..", lineage, "*.sql")).sort())
  .map((path) => readFileSync(path, "utf8"))
  .join("\n")
  .replaceAll("{site}", SHARED_SITE.site);

/**
 * The functions that read the signed context or write on its word, and what they call, as the migrations leave them; and
 * the only logins that may run each. As SQL values: `(object, hash of its body, definer, volatile, parallel, config,
 * attributes as text, runners, mend)`.
 */
export const VERIFIERS = [
  verifier("control.current_tenant_id", "partywall_account", "partywall_identity", "partywall_operator"),
  verifier("control.current_actor_id", "partywall_account", "partywall_identity"),
  verifier("control.acting_as", "partywall_account", "partywall_identity"),
  verifier("control.lock_outbox", "partywall_account", "partywall_identity", "partywall_operator"),
  verifier("control.drop_outbox", "partywall_account"),
  verifier("control.actor"),
  verifier("control.tell"),
  verifier("control.audit_row"),
  verifier("public.current_tenant_id", "partywall_app"),
  verifier("public.current_actor_id", "partywall_app"),
  verifier("public.receive", "partywall_account"),
  verifier("public.receive_members", "partywall_account"),
  verifier("public.receive_member"),
  verifier("public.receive_event"),
  verifier("public.event_id"),
  verifier("public.audit_row"),
].join(", ");

function verifier(name: string, ...runners: string[]): string {
  const definition = new RegExp(
    `FUNCTION ${name.replace(".", "\\.")}\\(([^)]*)\\) (RETURNS [^$]*?) AS \\$\\$(.*?)\\$\\$;?`,
    "gs",
  );
  const [, parameters, head, body] = [...migrations.matchAll(definition)].at(-1) ?? [];
  if (parameters === undefined || head === undefined || body === undefined)
    throw new Error(`No migration makes ${name}().`);
  const types = parameters.split(",").map((parameter) => parameter.trim().replace(/^\w+ /, ""));
  const signature = `${name}(${types.join(",")})`;
  const attributes = oneLine(head.replace(/^RETURNS \w+\s+LANGUAGE \w+/, "")) || "none";
  const config = [...head.matchAll(/SET (\w+) = (\S+)/g)].map(
    ([, setting, value]) => `${setting}=${value === "''" ? '""' : value}`,
  );
  const mend = [
    `CREATE OR REPLACE FUNCTION ${name}(${parameters}) ${oneLine(head)} AS ${escaped(body)}`,
    `ALTER FUNCTION ${signature} OWNER TO partywall_owner`,
    `REVOKE ALL ON FUNCTION ${signature} FROM PUBLIC`,
    ...(runners.length > 0 ? [`GRANT EXECUTE ON FUNCTION ${signature} TO ${runners.join(", ")}`] : []),
  ].join("; ");
  const values = [
    quoted(signature),
    quoted(createHash("sha256").update(body).digest("hex")),
    String(/SECURITY DEFINER/.test(head)),
    quoted(/STABLE/.test(head) ? "s" : "v"),
    quoted(/PARALLEL SAFE/.test(head) ? "s" : "u"),
    config.length > 0 ? array(config) : "null",
    quoted(attributes),
    array(runners),
    quoted(mend),
  ];
  return `(${values.join(", ")})`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** The text on one line, and yet the same to the letter. */
function escaped(text: string): string {
  return `E${quoted(text.replaceAll("\\", "\\\\")).replaceAll("\n", "\\n").replaceAll("\t", "\\t")}`;
}

function array(texts: string[]): string {
  return `array[${texts.map(quoted).join(", ")}]::text[]`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
