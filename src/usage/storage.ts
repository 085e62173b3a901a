import { sql } from "drizzle-orm";
import * as v from "valibot";
import { query, type Given } from "../db/query.ts";
import { openForObject } from "../tenant/news.ts";
import { homeOf, type EdgeRecord } from "../tenant/record.ts";
import { findHome } from "../tenant/stub.ts";

/** Rows that are counted one by one in each table; of more, a sample of the table tells. */
const COUNTED_ROWS = 20_000;
/** What a site may take, for all its tables together, and the control plane after it. */
const TIMEOUT_MS = 10_000;

const measuring = query((db, { most }: Given<{ most: number }>) =>
  db.execute(sql`select row_count::float8 as rows, bytes::float8 as bytes from measure(${most})`),
);
const Measured = v.tuple([v.object({ rows: v.number(), bytes: v.number() })]);

const recording = query((db, { rows, bytes }: Given<{ rows: number; bytes: number }>) =>
  db.execute(sql`select record_storage(${rows}, ${bytes})`),
);

/** Measures what is stored of a tenant at its site, and notes it in its usage of today. Bounded work: see measure(). */
export async function measureTenant(record: EdgeRecord): Promise<void> {
  const { id } = record;
  const site = openForObject("courier", id, TIMEOUT_MS, {
    home: homeOf(record),
    findHome: (epoch, isClosed) => findHome(id, epoch, isClosed),
  });
  const { measured } = await site.read({ measured: measuring({ most: COUNTED_ROWS }) });
  const [{ rows, bytes }] = v.parse(Measured, measured.rows);
  await openForObject("account", id, TIMEOUT_MS).write({ "": recording({ rows, bytes }) });
}
