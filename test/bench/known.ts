import { createServer } from "node:http";
import { once } from "node:events";
import { aimsTable } from "./aims.ts";
import { makeBed, runSql } from "./bed.ts";
import { shown, spread, table } from "./figures.ts";
import { serveWhole } from "./miniflare.ts";
import type { Options, Result } from "./subject.ts";
import { bundleDeployed, makeFolder, type Served } from "./workerd.ts";

/** Tries of each side, known and unknown by turns, each with an address of its own. */
const TRIES = 200;
const WARM_UP = 20;
/** By chance alone the share is farther from a half than this once in 200 measurements: 2.8 standard errors. */
const MOST_BY_CHANCE = 0.081;

type Ask = (email: string) => { path: string; body: object; status: number };

/** What somebody may send to find out whether an address has an account. */
const ASKED: Record<string, Ask> = {
  "a password reset": (email) => ({ path: "/v1/password-resets", body: { email }, status: 202 }),
  "a wrong sign-in": (email) => ({
    path: "/v1/sessions",
    body: { email, password: "not the password of anybody" },
    status: 401,
  }),
  "a sign-up that verifies first": (email) => ({
    path: "/v1/signup",
    body: {
      email,
      password: "a long enough password",
      tenant: { name: "x", slug: `t-${crypto.randomUUID().slice(0, 18)}` },
    },
    status: 202,
  }),
};

/** Whether the time of an answer tells if an address has an account: the same requests for known and unknown ones. */
export async function known(bench: AsyncDisposableStack, { connections, say }: Options): Promise<Result> {
  const bed = await makeBed(bench, connections);
  const variables = {
    ...bed.variables,
    LOG_REQUESTS: "off",
    SIGN_UP: "verify_first",
    MAIL_FROM: "x@bench.test",
  };
  const worker = await serveWhole(
    bench,
    await bundleDeployed(bench),
    { ...variables, MAIL_URL: await startSink(bench) },
    makeFolder(bench),
  );
  await runSql(
    bed.superuserUrl,
    `insert into control.users (id, email, password_hash, email_verified_at)
     select gen_random_uuid(), 'known-' || n || '@bench.test', 'none', now() from generate_series(1, ${10 * TRIES}) n`,
  );
  const measured = [];
  let used = 0;
  for (const [name, of] of Object.entries(ASKED)) {
    say(`${name}, ${TRIES} times for a known and ${TRIES} times for an unknown address`);
    const times = { known: [] as number[], unknown: [] as number[] };
    for (let n = -WARM_UP; n < TRIES; n++) {
      used += 1;
      const sides = [
        ["known", `known-${used}@bench.test`],
        ["unknown", `nobody-${used}@bench.test`],
      ] as const;
      for (const [side, email] of n % 2 === 0 ? sides : sides.toReversed()) {
        const ms = await timeOf(worker, of(email));
        if (n >= 0) times[side].push(ms);
      }
    }
    measured.push({ name, ...times, share: shareSlower(times.known, times.unknown) });
  }
  return {
    data: { tries: TRIES, measured },
    text: [
      `How long an answer takes, ${TRIES} tries a side. The share is of pairs in which the known address took longer:`,
      "with half of them, time tells nothing.",
      "",
      table(
        ["ms, median", "known", "unknown", "share slower"],
        measured.map(({ name, known: of, unknown, share }) => [
          name,
          shown(spread(of).median, 2),
          shown(spread(unknown).median, 2),
          shown(share, 3),
        ]),
      ),
      "",
      aimsTable(
        measured.map(({ name, share }) => ({
          aim: `${name}: share of pairs beside a half`,
          is: Math.abs(share - 0.5),
          most: MOST_BY_CHANCE,
        })),
      ),
    ].join("\n"),
  };
}

async function timeOf({ port }: Served, { path, body, status }: ReturnType<Ask>): Promise<number> {
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  await response.text();
  const ms = performance.now() - started;
  if (response.status !== status) throw new Error(`${path} answered ${response.status}`);
  return ms;
}

/** The share of all pairs in which the first is greater (Mann and Whitney's U over the number of pairs). */
const shareSlower = (these: readonly number[], those: readonly number[]): number =>
  these.reduce((sum, a) => sum + those.filter((b) => a > b).length, 0) / (these.length * those.length);

/** Takes every mail, and keeps none. */
async function startSink(bench: AsyncDisposableStack): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(202).end());
  });
  bench.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("the mail sink has no port");
  return `http://127.0.0.1:${address.port}/`;
}
