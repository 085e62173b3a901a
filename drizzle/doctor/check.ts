/**
 * One thing that must not be in a partywall database. `sql` returns a row for each place where it is: `object`, and
 * what else the texts name in braces, quoted as SQL needs it. It may select from the names that HOUSE defines.
 */
export type Check = {
  /** What tests and `--allow` know it by. */
  code: string;
  /** A warning fails the doctor with `--strict` only. */
  severity?: Finding["severity"];
  what: string;
  /** How a tenant's data gets out, or how the wall would come down. */
  why: string;
  /** The SQL that mends it, to be run as the object's owner or the migrating login. */
  mend: string;
  sql: string;
};

export type Finding = {
  code: string;
  severity: "error" | "warning";
  object: string;
  what: string;
  why: string;
  mend: string;
};
