import { aimsTable, type Aim } from "./aims.ts";
import { NAMES, type Contestant, type Name } from "./contestants.ts";
import { ratio, shown, shownSpread, spread, table, type Spread } from "./figures.ts";
import type { Outcome } from "./load.ts";
import type { Request, RequestName } from "./requests.ts";
import { STARTS } from "./start-up.ts";
import { librariesTable } from "./libraries.ts";
import type { Options, Result } from "./subject.ts";
import { sizeOf } from "./workerd.ts";

/** Above this share of its own time the load generator, not the Worker, would be what is measured. */
const TOO_BUSY = 0.85;

/** One measurement; CPU times are µs a request. */
export type Round = Outcome & { workerdUs: number; postgresUs: number; endpointUs: number };
export type Rounds = Record<Name, Round[]>;

/** What is measured of each request, and with how many decimals it is shown. */
const QUANTITIES = {
  perSecond: ["requests/s", 0],
  p50: ["p50 ms", 2],
  p99: ["p99 ms", 2],
  workerdUs: ["workerd CPU, µs a request", 0],
  postgresUs: ["Postgres CPU, µs a request", 0],
  endpointUs: ["local endpoint CPU, µs a request", 0],
} as const;
type Quantity = keyof typeof QUANTITIES;

type Measured = { of: Record<Name, Spread>; toByHand: Spread; toFloor: Spread };
type Figures = Record<Quantity, Measured>;

/** The figures of the requests that were measured. */
export function report(
  { connections, seconds, rounds }: Options,
  requests: Record<RequestName, Request>,
  measured: ReadonlyMap<RequestName, Rounds>,
  contestants: Record<Name, Contestant>,
  startUps: Record<Name, Spread>,
): Result {
  const figures = new Map([...measured].map(([name, found]) => [name, figuresOf(found)]));
  const sizes = each((name) => sizeOf(contestants[name].bundle));
  const all = [...measured.values()].flatMap((found) => NAMES.flatMap((name) => found[name]));
  const busy = Math.max(...all.map((round) => round.busy));
  const aims = aimsOf(figures, sizes.partywall.gzip);

  const text = [
    `${connections} connections, medians of ${rounds} rounds of ${seconds} s, interleaved. All three answer with the same status and body.`,
    "Ratios are partywall's, taken round by round: median (lowest–highest).",
    "",
    ...[...figures].flatMap(([name, found]) => [requestTable(requests[name].title, found), ""]),
    "By hand verifies the token, validates the input and writes in a transaction behind row level security. Partywall also",
    "checks the tenant's limits and what was revoked, signs the context that Postgres verifies, and gives each row a version",
    "for its ETag. Each of its creates and patches writes an event into the audit trail in the same transaction: that is in",
    "its figures, and the others write none. No request carries an Idempotency-Key, which only partywall would heed.",
    "Tables are put back after each round of writes, outside of the measured time.",
    `The load generator was busy for ${shown(busy * 100)} % of its time at most.`,
    ...(busy > TOO_BUSY ? ["That is too much: it, not the Workers, may be what was measured."] : []),
    "",
    table(
      ["", ...NAMES],
      [
        ["bundle, KB", ...NAMES.map((name) => shown(sizes[name].raw / 1000))],
        ["bundle, KB gzipped", ...NAMES.map((name) => shown(sizes[name].gzip / 1000))],
        ["start-up, ms", ...NAMES.map((name) => shown(startUps[name].median, 1))],
      ],
    ),
    "Bundles are what `wrangler deploy` uploads, without source maps. Start-up is the time from the start of a fresh",
    `workerd to its first answer to GET /health, less the same for an empty Worker: the median of ${STARTS}. It holds the`,
    "first request too; the start-up time that Cloudflare limits is measured only at an upload.",
    "",
    librariesTable(contestants.partywall.bundle),
    "Minified, before gzip. Passkeys take @simplewebauthn/server, @peculiar/*, asn1js and what those need: it is in the bundle, and",
    "runs only when a passkey is made or used.",
    "",
    aimsTable(aims),
  ].join("\n");
  const data = { connections, seconds, rounds, figures: Object.fromEntries(figures), sizes, startUps, aims };
  return { data: { ...data, generatorBusy: busy }, text };
}

/** The bounds that partywall should keep, of the requests that were measured. */
function aimsOf(figures: ReadonlyMap<RequestName, Figures>, gzip: number): Aim[] {
  const read = figures.get("read");
  const ofRead: Aim[] = read
    ? [
        { aim: "read, requests/s to by hand", least: 0.95, is: read.perSecond.toByHand.median },
        { aim: "read, requests/s to the floor", least: 0.75, is: read.perSecond.toFloor.median },
        { aim: "read, workerd CPU to by hand", most: 1, is: read.workerdUs.toByHand.median },
        { aim: "read, workerd CPU to the floor", most: 1.25, is: read.workerdUs.toFloor.median },
        { aim: "read, Postgres CPU to by hand", most: 1.25, is: read.postgresUs.toByHand.median },
      ]
    : [];
  const ofOthers = [...figures]
    .filter(([name]) => name !== "read")
    .map(([name, { perSecond }]) => ({
      aim: `${name}, requests/s to by hand`,
      least: 0.9,
      is: perSecond.toByHand.median,
    }));
  return [...ofRead, ...ofOthers, { aim: "bundle, KB gzipped", most: 145, is: gzip / 1000 }];
}

const each = <T>(find: (name: Name) => T) =>
  Object.fromEntries(NAMES.map((name) => [name, find(name)])) as Record<Name, T>;

function figuresOf(found: Rounds): Figures {
  const measure = (key: Quantity): Measured => {
    const of = each((name) => found[name].map((round) => round[key]));
    return {
      of: each((name) => spread(of[name])),
      toByHand: ratio(of.partywall, of["by hand"]),
      toFloor: ratio(of.partywall, of.floor),
    };
  };
  const keys = Object.keys(QUANTITIES) as Quantity[];
  return Object.fromEntries(keys.map((key) => [key, measure(key)])) as Figures;
}

function requestTable(title: string, figures: Figures): string {
  const lines = (Object.keys(QUANTITIES) as Quantity[]).map((key) => {
    const [what, decimals] = QUANTITIES[key];
    const { of, toByHand, toFloor } = figures[key];
    const medians = NAMES.map((name) => shown(of[name].median, decimals));
    return [what, ...medians, shownSpread(toByHand), shownSpread(toFloor)];
  });
  return `${title}\n${table(["", ...NAMES, "to by hand", "to the floor"], lines)}`;
}
