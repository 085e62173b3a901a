import { openTenantDb } from "../db/client.ts";
import type { Site } from "../db/places.ts";
import { statement } from "../db/query.ts";
import { Deadline } from "../deadline.ts";
import { Problem } from "../problem.ts";
import type { TenantDb } from "../tenant-db.ts";
import { CANNOT_FOLLOW, stateOf, SUPERSEDED } from "./end.ts";
import { Superseded } from "./superseded.ts";
import { TABLES, tablesOf, type FoundTable } from "./catalog.ts";
import { TenantRows, type Mode, type Statement } from "./rows.ts";

/** What a statement of a job may take: a login's statement_timeout is less. */
const STATEMENT_TIMEOUT_MS = 15_000;

/** As whom an attempt at a job works. */
export type Attempt = { tenant: string; job: string; token: number };

/** A tenant's rows at a site, as the Worker's jobs see them: over HTTP, in the tenant's context, with the attempt's token. */
export class JobSite extends TenantRows {
  protected readonly schema: string;
  readonly #open: () => TenantDb;

  constructor(site: Site, { tenant, job, token }: Attempt) {
    super();
    this.schema = site.schema;
    this.#open = () =>
      openTenantDb(
        "mover",
        tenant,
        { id: job, as: "job" },
        { id: "", deadline: new Deadline(undefined, STATEMENT_TIMEOUT_MS), onAnswer: () => undefined },
        { site, epoch: token },
      );
  }

  /** The tables that there are, parents first. */
  async tables() {
    return tablesOf(await this.run<FoundTable>("read", [TABLES, this.schema]));
  }

  /** Sets the fence to `loading`, from whatever an earlier job has left in one of these epochs. */
  async keepOthersOut(epochs: readonly number[]): Promise<void> {
    for (const epoch of epochs)
      for (const before of [[], ["open"]] as const)
        try {
          for (const mode of before) await this.setFence(mode, epoch);
          await this.setFence("loading", epoch);
          return;
        } catch (error) {
          if (stateOf(error) !== CANNOT_FOLLOW) throw error;
        }
    throw new Error("the tenant's fence is in a state that nothing can follow");
  }

  /** Makes former members of all but these, or forgets them: what refers to them loses that. */
  async dismiss(members: readonly string[], { isForgotten = false } = {}): Promise<void> {
    await this.run("write", [
      `with gone as (delete from members where id <> all ($1::uuid[]) returning id, email)
      insert into former_members (id, email) select id, email from gone where not $2
      on conflict (tenant_id, id) do nothing`,
      members,
      isForgotten,
    ]);
  }

  /** What is left of the tenant after its erasure, counted by another path than that which has erased it. */
  async leftBehind(): Promise<Record<string, number>> {
    const found = await this.run<{ table_name: string; rows: number }>("read", [
      "select table_name, left_over::int as rows from left_behind()",
    ]);
    return Object.fromEntries(found.map((row) => [row.table_name, row.rows]));
  }

  protected async run<Row extends Record<string, unknown>>(
    mode: Mode,
    [text, ...params]: Statement,
  ): Promise<Row[]> {
    const db = this.#open();
    const queries = { rows: statement(text, params) };
    try {
      const { rows } = await (mode === "read" ? db.read(queries) : db.write(queries));
      return rows as Row[];
    } catch (error) {
      // What Postgres has said: a job goes by its SQLSTATE.
      const fault = error instanceof Problem && error.cause ? error.cause : error;
      throw stateOf(fault) === SUPERSEDED ? new Superseded() : fault;
    }
  }
}
