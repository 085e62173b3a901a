import { aimsTable, type Aim } from "./aims.ts";
import { difference, ratio, shown, shownSpread, spread, table, type Spread } from "./figures.ts";
import type { Inside, Way } from "./inside-postgres.ts";
import type { Plan } from "./plans.ts";
import type { Statement } from "./statements.ts";
import type { Options, Result } from "./subject.ts";
import { TENANTS, type Size, type Tenant } from "./tenancy.ts";
import type { Kind, Requests } from "./whole-requests.ts";

/** Of a statement that takes longer by hand, a constant cannot be told from what varies anyway. */
const SLOW_US = 1_000;

export type Found = {
  tenants: Tenant[];
  plans: Plan[];
  inside: Inside[];
  /** The same statements with ten tenants and with all, one entry a round. */
  few: Inside[];
  all: Inside[];
  requests: Requests[];
};

type Added = { byHand: number; walled: number; added: Spread };
type InsideFigures = { name: string; kind: Statement["kind"]; size: Size } & Record<Way, Added>;
type RequestFigures = {
  name: string;
  kind: Statement["kind"];
  size: Size;
  ms: Record<Kind, number>;
  addedUs: number;
  walledToByHand: Spread;
  byHandToAlone: Spread;
};

/** Lists that find as many rows for the small tenant as for the largest. */
const PAGES = ["page of 50", "next page of 10", "filter without a match"];

/** The join that CONTRIBUTING warns of: shown, and under no aim. */
const WARNED_OF = "join by id alone";

/** The figures, and for people with what is behind them. */
export function reportWall(
  { rounds, rows }: Pick<Options, "rounds"> & { rows: number },
  found: Found,
): Result {
  const inside = found.inside.map(insideFigures);
  const requests = found.requests.map(requestFigures);
  const names = [...new Set(found.few.map(({ statement: { name } }) => name))];
  const scaled = names.map((name) => ({
    name,
    few: addedIn(found.few, name),
    all: addedIn(found.all, name),
  }));
  const walled = found.plans.filter(({ side }) => side === "walled");
  const planBeside = ({ statement, size }: Plan) =>
    found.plans.find((plan) => plan.side === "byHand" && plan.statement === statement && plan.size === size);
  const otherPlans = walled.filter((plan) => plan.nodes !== planBeside(plan)?.nodes);
  const fair = <Each extends { name: string }>(all: readonly Each[]): Each[] =>
    all.filter(({ name }) => name !== WARNED_OF);
  const aims = aimsOf(walled, fair(inside), fair(requests), scaled);

  const text = [
    `${shown(rows)} rows in tasks and projects, ${shown(TENANTS)} tenants; measured are`,
    `${found.tenants.map((tenant) => `the ${tenant.size} (${shown(tenant.rows)} rows)`).join(", ")}.`,
    "By hand: the same tables through a role that RLS does not bind, with the tenant in each WHERE. Neither side",
    `writes an audit trail. Medians of ${rounds} rounds, interleaved; differences and ratios are taken round by round:`,
    "median (lowest–highest).",
    "",
    table(
      ["inside Postgres, µs", "by hand", "walled", "added", "planned: by hand", "walled", "added"],
      inside.map(({ name, size, prepared, planned }) => [
        `${name}, ${size}`,
        ...addedCells(prepared),
        ...addedCells(planned),
      ]),
    ),
    "Measured by a loop in Postgres, each turn a transaction of its own of which only the statement is timed; writes",
    "are rolled back. First with a generic plan made once, for both sides; then parsed and planned each time, as all",
    "that comes over HTTP is. All is in the processor's caches here; in a whole request less is.",
    "",
    table(
      [
        "whole request, ms",
        "alone",
        "by hand",
        "walled",
        "added µs",
        "walled to by hand",
        "by hand to alone",
      ],
      requests.map(({ name, size, ms, addedUs, walledToByHand, byHandToAlone }) => [
        `${name}, ${size}`,
        shown(ms.alone, 2),
        shown(ms.byHand, 2),
        shown(ms.walled, 2),
        shown(addedUs),
        shownSpread(walledToByHand),
        shownSpread(byHandToAlone),
      ]),
    ),
    "Through the driver and the local endpoint, one request at a time. Walled and by hand are batches of the same",
    "shape; alone is the statement by hand without a batch, so the last column is the price of the transaction. There",
    "is no network here: across one the same µs are a smaller part of a request.",
    "",
    table(
      ["prepared, µs, the median tenant", "by hand", "walled", "added", `${shown(TENANTS)} to 10`],
      scaled.flatMap(({ name, few, all }) => [
        [`${name}, 10 tenants`, ...addedCells(few), ""],
        [`${name}, ${shown(TENANTS)} tenants`, ...addedCells(all), shown(growthOf({ few, all }), 2)],
      ]),
    ),
    "",
    "Behind the wall, for the largest tenant:",
    ...walled
      .filter(({ size }) => size === "largest")
      .map((plan) => `- ${plan.statement.name}: context verified ${plan.verified}×, ${plan.nodes}`),
    ...(otherPlans.length > 0 ? ["By hand Postgres, which then knows the tenant, plans otherwise:"] : []),
    ...otherPlans.map(
      (plan) =>
        `- ${plan.statement.name}, ${plan.size}: ${planBeside(plan)?.nodes ?? "–"}, and walled ${plan.nodes}`,
    ),
    "",
    aimsTable(aims),
    `Added µs are the worst of the statements that take less than ${shown(SLOW_US)} µs by hand. No aim counts the`,
    `${WARNED_OF}: from the ids Postgres cannot tell that both rows are one tenant's, and expects few of them.`,
  ].join("\n");
  const tenants = found.tenants.map(({ size, rows: its }) => ({ size, rows: its }));
  const plans = found.plans.map((plan) => ({ ...plan, statement: plan.statement.name }));
  return { data: { rounds, rows, tenants, inside, requests, scaled, plans, aims }, text };
}

function insideFigures({ statement: { name, kind }, size, times }: Inside): InsideFigures {
  return { name, kind, size, prepared: addedBy(times.prepared), planned: addedBy(times.planned) };
}

function addedBy({ walled, byHand }: Inside["times"][Way]): Added {
  return {
    byHand: spread(byHand).median,
    walled: spread(walled).median,
    added: difference(walled, byHand),
  };
}

/** Of one statement, prepared, over all entries. */
function addedIn(entries: readonly Inside[], name: string): Added {
  const times = entries
    .filter(({ statement }) => statement.name === name)
    .map((entry) => entry.times.prepared);
  return addedBy({
    walled: times.flatMap(({ walled }) => walled),
    byHand: times.flatMap(({ byHand }) => byHand),
  });
}

function requestFigures({ statement: { name, kind }, size, times }: Requests): RequestFigures {
  const { walled, byHand, alone } = times;
  return {
    name,
    kind,
    size,
    ms: { walled: spread(walled).median, byHand: spread(byHand).median, alone: spread(alone).median },
    addedUs: difference(walled, byHand).median * 1000,
    walledToByHand: ratio(walled, byHand),
    byHandToAlone: ratio(byHand, alone),
  };
}

const addedCells = ({ byHand, walled, added }: Added): string[] => [
  shown(byHand),
  shown(walled),
  shownSpread(added, 0),
];

type Scaled = { few: Added; all: Added };
const growthOf = ({ few, all }: Scaled): number => all.added.median / few.added.median;

function aimsOf(
  plans: readonly Plan[],
  inside: readonly InsideFigures[],
  requests: readonly RequestFigures[],
  scaled: readonly Scaled[],
): Aim[] {
  const worstAdded = (wanted: Statement["kind"]) =>
    Math.max(
      ...inside
        .filter(({ kind, prepared }) => kind === wanted && prepared.byHand < SLOW_US)
        .map(({ prepared }) => prepared.added.median),
    );
  const ratios = (wanted: Statement["kind"]) =>
    requests.filter(({ kind }) => kind === wanted).map((each) => each.walledToByHand.median);
  const worst = requests.toSorted((a, b) => b.walledToByHand.median - a.walledToByHand.median)[0];
  const reads = plans.filter(({ statement }) => statement.kind === "read");
  const largestToSmall = PAGES.map((name) => {
    const walledFor = (wanted: Size) =>
      requests.find((each) => each.name === name && each.size === wanted)?.ms.walled ?? Number.NaN;
    return walledFor("largest") / walledFor("small");
  });
  const verified = Map.groupBy(plans, ({ statement }) => statement).values();
  return [
    { aim: "µs added to a read, prepared", most: 65, is: worstAdded("read") },
    { aim: "µs added to a write, prepared", most: 100, is: worstAdded("write") },
    { aim: "whole reads to by hand, median", most: 1.05, is: spread(ratios("read")).median },
    { aim: "whole writes to by hand, median", most: 1.05, is: spread(ratios("write")).median },
    {
      aim: `whole request to by hand, worst (${worst?.name}, ${worst?.size})`,
      most: 1.05,
      is: worst?.walledToByHand.median ?? Number.NaN,
    },
    {
      aim: `µs added, ${shown(TENANTS)} tenants to 10`,
      most: 1.5,
      is: Math.max(...scaled.map(growthOf)),
    },
    {
      aim: `whole page (${PAGES.join(", ")}), largest tenant to small, worst`,
      most: 1.2,
      is: Math.max(...largestToSmall),
    },
    {
      aim: "tenant tables read from end to end",
      most: 0,
      is: plans.reduce((sum, { scans }) => sum + scans, 0),
    },
    {
      aim: "verifications a table of a read",
      most: 1,
      is: Math.max(...reads.map((plan) => plan.verified / plan.statement.tables)),
    },
    {
      aim: "verifications, most to fewest rows",
      most: 1,
      is: Math.max(
        ...verified.map((each) => {
          const counts = each.map((plan) => plan.verified);
          return Math.max(...counts) / Math.min(...counts);
        }),
      ),
    },
  ];
}
