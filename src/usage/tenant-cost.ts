import { sql, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { operatorDb, rethrow } from "../db/client.ts";
import type { Deadline } from "../deadline.ts";
import { settings } from "../env.ts";
import { Problem } from "../problem.ts";
import { PRICES } from "../product/prices.ts";
import { costOf, type Prices } from "./cost.ts";
import {
  daysAfter,
  neonDays,
  shareOf,
  withoutShare,
  type NeonDays,
  type NeonFigures,
  type WhyNot,
} from "./neon.ts";
import { neonFigures } from "./neon-api.ts";
import type { Periods } from "./periods.ts";
import { Quantities, quantitiesOf } from "./report.ts";

/** Where a tenant's content is, as far as Neon's figures are concerned; `since` is a day. */
const Places = v.array(
  v.object({ project: v.nullable(v.string()), since: v.string(), is_alone: v.boolean() }),
);
type Place = v.InferOutput<typeof Places>[number];

/** At a server, and in a project, may be several sites, and at each several tenants: then nobody can say whose the figures are. */
const placeOf = (tenant: string): SQL => sql`
  select s.neon_project as project,
    to_char(greatest(t.created_at, (select max(j.finished_at) from jobs j
      where j.tenant_id = t.id and j.kind = 'move' and j.outcome = 'done' and j.target = t.site)) at time zone 'UTC',
      'YYYY-MM-DD') as since,
    case when s.neon_project is null then false else not exists (
      select from sites a join tenants o on o.site = a.name
      where o.id <> t.id and (a.server = s.server or a.neon_project = s.neon_project)) end as is_alone
  from tenants t join sites s on s.name = t.site where t.id = ${tenant}`;

type Asking = { now: number; deadline: Deadline; onAnswer: (started: number) => void };

/**
 * What a tenant's usage on these days costs, at `now` in ms. Where it is alone in a Neon project that is known, what Neon bills
 * is by Neon's own figures of that project, as far as it tells them. Throws `not_found`.
 */
export async function costOfTenant(tenant: string, { first, last }: Periods, asking: Asking) {
  const ask = async (...queries: [SQL, ...SQL[]]): Promise<unknown[][]> => {
    const started = performance.now();
    try {
      const [one, ...others] = queries;
      const batch = [operatorDb.execute(one), ...others.map((each) => operatorDb.execute(each))] as const;
      return (await operatorDb.batch(batch).catch(rethrow)).map(({ rows }) => rows);
    } finally {
      asking.onAnswer(started);
    }
  };
  const days = { first: first.slice(0, 10), last: last.slice(0, 10) };
  const counted = (of: typeof days) => quantitiesOf({ granularity: "day", ...of }, tenant);

  const [places, figures] = await ask(placeOf(tenant), counted(days));
  const [place] = v.parse(Places, places);
  if (!place) throw new Problem("not_found");
  const [used] = v.parse(Quantities, figures);
  const { project } = place;
  if (project === null) return costOf(used);

  const told = await ofNeon({ ...place, project }, days, asking);
  if (typeof told === "string") return costOf(used, { share: withoutShare(project, told) });
  const share = shareOf(project, told.days, told.figures);
  if (told.days.first === days.first) return costOf(used, { share, figures: told.figures });
  const [rest] = await ask(counted({ first: days.first, last: daysAfter(told.days.first, -1) }));
  const [before] = v.parse(Quantities, rest);
  return costOf(used, { share, figures: told.figures, before });
}

/** What Neon says of the project's days, or why it says nothing. */
async function ofNeon(
  { project, since, is_alone }: Place & { project: string },
  of: { first: string; last: string },
  { now, deadline }: Asking,
): Promise<{ days: NeonDays; figures: NeonFigures } | WhyNot> {
  const { neon }: Prices = PRICES;
  if (!settings.NEON_API_KEY) return "not_set_up";
  if (!neon) return "no_prices";
  if (!is_alone) return "several_tenants";
  const days = neonDays(of, since, now);
  if (!days) return "no_days";
  const figures = await neonFigures(project, days, deadline);
  return typeof figures === "string" ? figures : { days, figures };
}
