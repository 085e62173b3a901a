import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { statementAt, type Target } from "../lineage.ts";

/** All migrations of a lineage of partywall's own, as one text. */
const textOf = (lineage: string) =>
  globSync(join(import.meta.dirname, "..", lineage, "*.sql"))
    .sort()
    .map((path) => readFileSync(path, "utf8"))
    .join("\n");

const MIGRATIONS = { control: textOf("control"), site: textOf("site") };

type Runners = readonly [name: string, ...runners: string[]];

/** The functions of the control plane, and the only logins that may run each. */
const IN_CONTROL: readonly Runners[] = [
  ["current_tenant_id", "partywall_account", "partywall_identity", "partywall_operator"],
  ["current_actor_id", "partywall_account", "partywall_identity"],
  ["acting_as", "partywall_account", "partywall_identity"],
  ["lock_outbox", "partywall_account", "partywall_identity", "partywall_operator"],
  ["drop_outbox", "partywall_account"],
  ["commit_move", "partywall_account"],
  ["begin_job", "partywall_account"],
  ["claim_job", "partywall_account"],
  ["note_job", "partywall_account"],
  ["finish_job", "partywall_account"],
  ["drop_export", "partywall_account"],
  ["forget_old", "partywall_account"],
  ["begin_erasure", "partywall_identity"],
  ["record_usage", "partywall_account"],
  ["record_storage", "partywall_account"],
  ["forget_usage", "partywall_account"],
  ["sum_usage"],
  ["total_usage", "partywall_identity"],
  ["take_support_mails", "partywall_identity"],
  ["take_usage_mails", "partywall_identity"],
  ["erase_tenant", "partywall_identity"],
  ["note_erasure", "partywall_identity"],
  ["finish_erasure", "partywall_identity"],
  ["is_own_session", "partywall_identity"],
  ["keep_link", "partywall_identity"],
  ["give_way", "partywall_identity"],
  ["reset_password", "partywall_identity"],
  ["change_password", "partywall_identity"],
  ["ask_email_change", "partywall_identity"],
  ["change_email", "partywall_identity"],
  ["undo_email_change", "partywall_identity"],
  ["sign_up", "partywall_identity"],
  ["end_account", "partywall_identity"],
  ["reset_factors", "partywall_identity"],
  ["take_operator_guess", "partywall_operator"],
  ["sign_in_operator", "partywall_operator"],
  ["open_operator_session", "partywall_operator"],
  ["end_operator_session", "partywall_operator"],
  ["change_operator_password", "partywall_operator"],
  ["operate_tenant", "partywall_operator"],
  ["create_tenant", "partywall_operator"],
  ["invite_owner", "partywall_operator"],
  ["erase_for_operator", "partywall_operator"],
  ["export_for_operator", "partywall_operator"],
  ["end_sessions_of_tenant", "partywall_operator"],
  ["progress_of", "partywall_operator"],
  ["note_operation"],
  ["keep_trail"],
  ["approve_support", "partywall_account"],
  ["end_support", "partywall_account"],
  ["ask_support"],
  ["ask_support_in_session", "partywall_operator"],
  ["leave_tenant", "partywall_operator"],
  ["is_open"],
  ["guard_support_access"],
  ["end_support_of_tenant"],
  ["end_support_of_approver"],
  ["end_support_of_operator"],
  ["end_support_with_session"],
  ["tell_of_support"],
  ["lock_people"],
  ["heads_of"],
  ["end_sessions"],
  ["end_pending", "partywall_identity"],
  ["holder_of"],
  ["find_link"],
  ["take_link"],
  ["only_object"],
  ["change_status"],
  ["audit_operator"],
  ["actor"],
  ["tell"],
  ["audit_row"],
];

/** The same of a site. */
const AT_SITES: readonly Runners[] = [
  ["current_tenant_id", "partywall_app", "partywall_mover"],
  ["current_actor_id", "partywall_app"],
  ["receive", "partywall_account"],
  ["receive_members", "partywall_account"],
  ["receive_member"],
  ["receive_event"],
  ["event_id"],
  ["audit_row"],
  ["set_fence", "partywall_mover"],
  ["extend_hold", "partywall_mover"],
  ["changes", "partywall_mover"],
  ["forget_changes", "partywall_mover"],
  ["note_changes", "partywall_mover"],
  ["keep_images", "partywall_mover"],
  ["images", "partywall_mover"],
  ["left_behind", "partywall_mover"],
  ["forget_old", "partywall_account"],
  ["measure", "partywall_account"],
  ["log_row"],
];

/**
 * The functions that read the signed context or write on its word, and what they call, as the migrations leave them at this
 * site, and in the control plane if that is in the same examination; and the only logins that may run each. As SQL values:
 * `(object, hash of its body, definer, volatile, parallel, config, attributes as text, runners, mend)`.
 */
export function verifiersOf(site: Target, withControl: boolean): string {
  const atSite = statementAt(MIGRATIONS.site, site);
  return [
    ...(withControl ? IN_CONTROL : []).map((each) => verifier(MIGRATIONS.control, "control", each)),
    ...AT_SITES.map((each) => verifier(atSite, site.schema, each)),
  ].join(", ");
}

function verifier(migrations: string, schema: string, [own, ...runners]: Runners): string {
  const name = `${schema}.${own}`;
  const definition = new RegExp(
    `FUNCTION "?${schema}"?\\.${own}\\(([^)]*)\\)\\s+(RETURNS [^$]*?) AS \\$\\$(.*?)\\$\\$;?`,
    "gs",
  );
  const [, parameters, head, body] = [...migrations.matchAll(definition)].at(-1) ?? [];
  if (parameters === undefined || head === undefined || body === undefined)
    throw new Error(`No migration makes ${name}().`);
  const types = parameters.split(",").map((parameter) => parameter.trim().replace(/^\w+ /, ""));
  const signature = `${name}(${types.join(",")})`;
  const attributes = oneLine(head.replace(/^RETURNS [\w.]+\s+LANGUAGE \w+/, "")) || "none";
  const config = [...head.matchAll(/SET (\w+) = (\S+)/g)].map(
    ([, setting, value]) => `${setting}=${value === "''" ? '""' : value?.replaceAll("'", "")}`,
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
