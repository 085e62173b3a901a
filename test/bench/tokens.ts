import { join } from "node:path";
import { decodeJwt, importJWK, SignJWT, type JWTPayload } from "jose";
import { rotate } from "../../drizzle/rotate.ts";
import { withLowS } from "../../src/identity/low-s.ts";
import { aimsTable } from "./aims.ts";
import { ask, makeBed, makeTenant, signIn } from "./bed.ts";
import { cpuOf } from "./cpu.ts";
import { difference, ratio, shown, shownSpread, spread, table } from "./figures.ts";
import { startLoad, type Generator } from "./load.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, bundleWorker, serve, type Served } from "./workerd.ts";

const SLUG = "bench";
const LIMITS = [{ name: "minute", limit: 60_000_000, window: 60 }];
/** More than an isolate remembers: taken in turn, each of them has been forgotten when its turn comes again. */
const TOKENS = 5000;
const WARM_UP_S = 2;

const NAMES = [
  "believed",
  "Ed25519, known",
  "Ed25519, first seen",
  "ES256, known",
  "ES256, first seen",
  "API key",
] as const;
type Name = (typeof NAMES)[number];
type Side = { path: string; tokens: string[] };

/** One measurement; CPU time of the Worker in µs a request. */
type Round = { perSecond: number; workerdUs: number; busy: number };

/** What it costs to know who calls: the whole way to a handler that does nothing, by credential. */
export async function tokens(bench: AsyncDisposableStack, options: Options): Promise<Result> {
  const { connections, seconds, rounds, say } = options;
  say("starting Postgres, bundling the Workers");
  const bed = await makeBed(bench, connections);
  // In the middle of a rotation, a Worker takes tokens of two algorithms.
  const { value } = await rotate("TOKEN_SIGNING_KEYS", bed.variables.TOKEN_SIGNING_KEYS, "ES256");
  const variables = { ...bed.variables, TOKEN_SIGNING_KEYS: value };
  const entry = join(import.meta.dirname, "workers/tokens.ts");
  const [whole, measured] = await Promise.all([
    bundleDeployed(bench),
    bundleWorker(bench, entry, [{ name: "TENANT", class_name: "Tenant" }]),
  ]);
  const api = await serve(bench, whole, variables);
  await makeTenant(bed, api, SLUG, LIMITS);
  const worker = await serve(bench, measured, variables);
  const load = startLoad(bench);

  const found = Object.fromEntries(NAMES.map((name) => [name, [] as Round[]])) as Record<Name, Round[]>;
  for (let round = 0; round <= rounds; round++) {
    const sides = await makeSides(worker, value, (await signIn(api, SLUG)).token);
    for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
      const result = await measure(load, worker, sides[name], {
        connections,
        seconds: round === 0 ? WARM_UP_S : seconds,
      });
      const when = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      say(`${when}: ${name}, ${shown(result.perSecond)} requests/s`);
      if (round > 0) found[name].push(result);
    }
  }
  return report(options, found);
}

/** Fresh credentials of the same user for each side, good for ten minutes. */
async function makeSides(worker: Served, keySet: string, token: string): Promise<Record<Name, Side>> {
  const { keys }: { keys: { alg: string; kid: string }[] } = JSON.parse(keySet);
  const [ed25519, es256] = await Promise.all(keys.map((jwk) => mint(jwk, decodeJwt(token))));
  const { key } = await ask<{ key: string }>(worker, "/bench/keys", { token, body: {} });
  const [known, knownOfOther] = [ed25519?.slice(0, 1), es256?.slice(0, 1)];
  const verified = (given: string[] = []): Side => ({ path: "/bench/verified", tokens: given });
  return {
    believed: { path: "/bench/believed", tokens: [token] },
    "Ed25519, known": verified(known),
    "Ed25519, first seen": verified(ed25519),
    "ES256, known": verified(knownOfOther),
    "ES256, first seen": verified(es256),
    "API key": verified([key]),
  };
}

async function mint(jwk: { alg: string; kid: string }, claims: JWTPayload): Promise<string[]> {
  const key = await importJWK(jwk);
  const minted: string[] = [];
  for (let at = 0; at < TOKENS; at++)
    minted.push(
      asServerSpells(
        await new SignJWT({ ...claims, jti: crypto.randomUUID() })
          .setProtectedHeader({ alg: jwk.alg, typ: "at+jwt", kid: jwk.kid })
          .sign(key),
        jwk.alg,
      ),
    );
  return minted;
}

/** The same token; of the two spellings of an ES256 signature the Worker takes its own alone. */
function asServerSpells(token: string, alg: string): string {
  if (alg !== "ES256") return token;
  const at = token.lastIndexOf(".") + 1;
  return token.slice(0, at) + withLowS(Buffer.from(token.slice(at), "base64url")).toString("base64url");
}

async function measure(
  load: Generator,
  worker: Served,
  side: Side,
  options: { connections: number; seconds: number },
): Promise<Round> {
  const before = cpuOf(worker.pid);
  const { perSecond, answers, statuses, busy } = await load.run({ port: worker.port, ...side, ...options });
  if (statuses[200] !== answers) throw new Error(`Not all answers were 200: ${JSON.stringify(statuses)}`);
  return { perSecond, workerdUs: (cpuOf(worker.pid) - before) / answers, busy };
}

function report({ connections, seconds, rounds }: Options, found: Record<Name, Round[]>): Result {
  const of = (name: Name, key: keyof Round) => found[name].map((round) => round[key]);
  const cpu = (name: Name) => of(name, "workerdUs");
  const figures = Object.fromEntries(
    NAMES.map((name) => [
      name,
      {
        perSecond: spread(of(name, "perSecond")),
        workerdUs: spread(cpu(name)),
        toBelieved: ratio(cpu(name), cpu("believed")),
        addedUs: difference(cpu(name), cpu("believed")),
      },
    ]),
  );
  const firstSeen = {
    Ed25519: difference(cpu("Ed25519, first seen"), cpu("Ed25519, known")),
    ES256: difference(cpu("ES256, first seen"), cpu("ES256, known")),
  };
  const keyToToken = ratio(cpu("API key"), cpu("Ed25519, known"));
  const aims = [
    {
      aim: "a known token, CPU to no verification",
      most: 1.05,
      is: ratio(cpu("Ed25519, known"), cpu("believed")).median,
    },
  ];
  const text = [
    `A request to a handler that does nothing, through the tenant's object: ${connections} connections, medians of`,
    `${rounds} rounds of ${seconds} s, interleaved. “believed” verifies nothing. Spreads are taken round by round.`,
    "",
    table(
      ["", "requests/s", "workerd CPU, µs", "to believed", "added, µs"],
      Object.entries(figures).map(([name, { perSecond, workerdUs, toBelieved, addedUs }]) => [
        name,
        shown(perSecond.median),
        shown(workerdUs.median, 1),
        shownSpread(toBelieved),
        shownSpread(addedUs, 1),
      ]),
    ),
    "",
    `A first-seen token costs ${shownSpread(firstSeen.Ed25519, 0)} µs more than a known one with Ed25519, and`,
    `${shownSpread(firstSeen.ES256, 0)} µs with ES256. An API key costs ${shownSpread(keyToToken)} of a known token.`,
    "",
    aimsTable(aims),
  ].join("\n");
  return { data: { connections, seconds, rounds, figures, firstSeen, keyToToken, aims }, text };
}
