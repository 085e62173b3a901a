// Made-up tenants and their usage, the same in every folder: see seed-life.ts.

/**
 * `plan` counts the product's plans, the smallest first. `rate` is how many requests a working day had `DAYS` ago, which grow by
 * `growth` a week; so many of 1,000 were `refused`, and there have been none for the last `silent` days.
 */
export type Life = {
  slug: string;
  name: string;
  plan: number;
  members: number;
  /** Weeks ago that it was made. */
  weeks: number;
  rate: number;
  growth: number;
  refused: number;
  silent: number;
  /** Its status, and why an operator changed it. */
  ends?: readonly ["read_only" | "suspended" | "closing", reason: string];
};

type Numbers = [plan: number, members: number, weeks: number, rate: number, growth: number, refused: number];
const life = (slug: string, name: string, numbers: Numbers, silent = 0, ends?: Life["ends"]): Life => {
  const [plan, members, weeks, rate, growth, refused] = numbers;
  return { slug, name, plan, members, weeks, rate, growth, refused, silent, ...(ends && { ends }) };
};

export const LIVES: readonly Life[] = [
  life("nordwind", "Nordwind Freight", [2, 24, 60, 180_000, 0.04, 2]),
  life("lumen-labs", "Lumen Labs", [1, 12, 41, 42_000, 0.06, 11]),
  life("riverbend", "Riverbend Clinics", [1, 9, 33, 27_000, 0.01, 1]),
  life("quay-street", "Quay Street Books", [0, 2, 25, 2600, 0.02, 55]),
  life("orchard", "Orchard Analytics", [0, 3, 5, 3900, 0.12, 30]),
  life("paper-mill", "The Paper Mill", [1, 5, 21, 8400, -0.05, 4], 0, [
    "read_only",
    "Its owner asked for it while the books are closed.",
  ]),
  life("tidewater", "Tidewater Energy", [1, 7, 17, 15_500, 0.03, 90], 9, [
    "suspended",
    "Two invoices have been unpaid for 60 days.",
  ]),
  life("sunday-club", "Sunday Club", [0, 1, 12, 700, 0, 0], 3, [
    "closing",
    "Its owner moved everything to another tenant.",
  ]),
];

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How far back their days and hours go. */
const [DAYS, HOURS] = [90, 72];

const NONE = {
  requests: 0,
  refused: 0,
  units: 0,
  errors: 0,
  bytes_out: 0,
  db_ms: 0,
  object_ms: 0,
  object_rows: 0,
};
type Figures = typeof NONE;
/** The figures of a period that begins `at` this instant, in ms. */
type Period = Figures & { at: number };

/** Between 0 and 1, and always the same for the same numbers. */
const chance = (a: number, b: number): number =>
  Math.abs(Math.sin(a * 12.9898 + b * 78.233) * 43_758.5453) % 1;

/** What is used in the hour that begins `at`, so many hours ago. `seed` tells tenants apart. */
function hourOf(of: Life, seed: number, at: number, ago: number): Figures {
  const days = ago / 24;
  if (days >= of.weeks * 7 || days < of.silent) return NONE;
  const date = new Date(at);
  const weekend = date.getUTCDay() % 6 === 0 ? 0.35 : 1;
  const byDay = (1 + 0.7 * Math.sin(((date.getUTCHours() - 8) / 12) * Math.PI)) / 24;
  const grown = of.rate * (1 + of.growth) ** ((DAYS - days) / 7);
  const requests = Math.round(grown * weekend * byDay * (0.8 + 0.4 * chance(seed, ago)));
  // Some days are worse than others.
  const worse = chance(seed, Math.floor(at / DAY_MS)) > 0.8 ? 4 : 0.4;
  return {
    requests,
    refused: Math.round((requests * of.refused * worse) / 1000),
    units: Math.round(requests * 1.2),
    errors: Math.round(requests * 0.003 * chance(ago, seed)),
    bytes_out: requests * 1900,
    db_ms: requests * 6,
    object_ms: Math.min(HOUR_MS, requests * 400),
    object_rows: Math.ceil(requests / 20),
  };
}

/** The sum of periods, as one that begins `at` this instant. */
export function summed(periods: readonly Figures[], at: number): Period {
  const sum = { ...NONE, at };
  for (const period of periods)
    for (const name of Object.keys(NONE) as (keyof Figures)[]) sum[name] += period[name];
  return sum;
}

/** What is used, by hours and by days, up to the hour of `now`, in ms; hours and days without any are left out. */
export function livedBy(of: Life, seed: number, now: number): { hours: Period[]; days: Period[] } {
  const thisHour = now - (now % HOUR_MS);
  const hours = Array.from({ length: DAYS * 24 }, (_, ago) => {
    const at = thisHour - ago * HOUR_MS;
    return { ...hourOf(of, seed, at, ago), at };
  });
  const days = [...Map.groupBy(hours, ({ at }) => at - (at % DAY_MS))].map(([at, all]) => summed(all, at));
  const isUsed = ({ requests }: Figures) => requests > 0;
  return { hours: hours.slice(0, HOURS).filter(isUsed), days: days.filter(isUsed) };
}
