import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { copyProject } from "./support/node/copy.ts";

// `npm run dev` itself, in a checkout of its own, with a home folder that nobody can write to.

vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const SOON = { timeout: 20_000, interval: 50 };
const READY = "partywall is up";
const FRESH = "`npm run dev -- --fresh`";

let copy: string;
let port: number;
/** Takes the place of the way to the internet, and what was asked of it. */
let internet: Server;
const asked: string[] = [];
const runs: ChildProcess[] = [];

beforeAll(async () => {
  copy = copyProject();
  internet = createServer((socket) => {
    socket.once("data", (head) => {
      asked.push(head.toString().split("\r\n", 1)[0] ?? "");
      socket.destroy();
    });
  });
  await once(internet.listen(0, "127.0.0.1"), "listening");
  port = await freePorts();
});
afterAll(() => {
  for (const run of runs) run.kill("SIGKILL");
  internet.close();
  rmSync(dirname(copy), { recursive: true, force: true });
});

/** The first of three ports in a row that are free now, from `from` on. */
async function freePorts(from = 20_000 + (process.pid % 20_000)): Promise<number> {
  for (let first = from; ; first += 3) {
    const probes = [first, first + 1, first + 2].map((each) => createServer().listen(each, "127.0.0.1"));
    const free = await Promise.all(
      probes.map(async (probe) => {
        try {
          await once(probe, "listening");
          probe.close();
          return true;
        } catch {
          return false;
        }
      }),
    );
    if (free.every(Boolean)) return first;
  }
}

type Run = { npm: ChildProcess; output: () => string; ready: Promise<void>; ended: Promise<number | null> };

/** `npm run dev`, with what it has printed so far. `ready` rejects with that when it ends before it serves. */
function dev(args: string[] = [], env: Record<string, string> = {}): Run {
  const { port: proxy } = internet.address() as { port: number };
  const { VITEST: _, VITEST_POOL_ID: __, VITEST_WORKER_ID: ___, ...inherited } = process.env;
  const npm = spawn("npm", ["run", "dev", "--", ...args], {
    cwd: copy,
    env: {
      ...inherited,
      HOME: "/dev/null",
      XDG_CONFIG_HOME: "",
      npm_config_cache: join(dirname(copy), "npm"),
      npm_config_update_notifier: "false",
      HTTPS_PROXY: `http://127.0.0.1:${proxy}`,
      PORT: String(port),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  runs.push(npm);
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  let output = "";
  for (const stream of [npm.stdout, npm.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(READY)) ready.resolve();
    });
  const ended = once(npm, "close").then(([code]: (number | null)[]) => {
    ready.reject(new Error(output));
    return code ?? null;
  });
  return { npm, output: () => output, ready: ready.promise, ended };
}

/** `npm run dev` once it serves. */
async function serving(args: string[] = [], env: Record<string, string> = {}): Promise<Run> {
  const run = dev(args, env);
  await run.ready;
  return run;
}

/** What `npm run dev` prints when it cannot start. */
async function refusal(args: string[] = [], env: Record<string, string> = {}): Promise<string> {
  const run = dev(args, env);
  expect(await run.ended).toBe(1);
  expect(run.output()).not.toMatch(/^ +at /m);
  return run.output();
}

type Process = { pid: number; command: string };

/** All processes that work in the copy or have it in their command line. */
function processes(): Process[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      const here = command.includes(copy) || readlinkSync(`/proc/${pid}/cwd`).startsWith(copy);
      return here && command ? [{ pid: Number(pid), command }] : [];
    } catch {
      return [];
    }
  });
}

/** The process whose command line matches. */
function find(pattern: RegExp): number {
  const found = processes().find(({ command }) => pattern.test(command));
  if (!found) throw new Error(`No ${pattern} among ${JSON.stringify(processes())}`);
  return found.pid;
}

const isEmpty = () => expect.poll(processes, SOON).toEqual([]);

describe.runIf(process.platform === "linux")("npm run dev", () => {
  describe("that runs", () => {
    let first: Run;
    beforeAll(async () => {
      first = await serving();
    });

    it("started in a folder of any name, with a home nobody can write to, and asked nothing of the internet", async () => {
      expect((await fetch(`http://127.0.0.1:${port}/openapi.json`)).status).toBe(200);
      expect(asked).toEqual([]);
      expect(readdirSync(dirname(copy)).filter((name) => name !== "npm")).toEqual(["with space %23 é"]);
    });

    it("has tenants elsewhere, and takes one more into a database of its own by the commands of docs/sites.md", async () => {
      const guide = readFileSync(join(copy, "docs/sites.md"), "utf8");
      const commands = [...guide.matchAll(/^npm run tenants -- (.+(?:--local|--site mine).*)$/gm)].map(
        ([, args]) => args,
      );
      expect(commands).toHaveLength(2);
      const printed: string[] = [];
      // What is in the environment would go before .dev.vars.
      const { PATH = "", HOME = "" } = process.env;
      for (const args of commands)
        printed.push(
          execFileSync("npm", ["run", "-s", "tenants", "--", ...(args ?? "").split(" ")], {
            cwd: copy,
            env: { PATH, HOME },
          }).toString(),
        );
      const [, token] = /"token":"(pwi_[^"]+)"/.exec(printed.join("")) ?? [];
      const send = (path: string, body: object) =>
        fetch(`http://127.0.0.1:${port}${path}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
      const accepted = await send("/v1/invitations/accept", {
        token,
        password: "correct horse battery staple",
      });
      const sessions = [
        accepted,
        ...(await Promise.all(
          ["cyd@initech.test", "dan@umbrella.test"].map((email) =>
            send("/v1/sessions", { email, password: "correct horse battery staple" }),
          ),
        )),
      ];
      const kinds = await Promise.all(
        sessions.map(async (session) => {
          const { access_token } = (await session.json()) as { access_token: string };
          const headers = { authorization: `Bearer ${access_token}` };
          const tenant = await fetch(`http://127.0.0.1:${port}/v1/tenant`, { headers });
          return ((await tenant.json()) as { placement: { kind: string } }).placement.kind;
        }),
      );
      expect(kinds).toEqual(["dedicated", "schema", "dedicated"]);
    });

    it("prints the mail that it sends, and shows it in its mailbox, whose address it has printed", async () => {
      const send = async (path: string, body: object, token?: string) => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            ...(token && { authorization: `Bearer ${token}` }),
          },
          body: JSON.stringify(body),
        });
        expect(response.status).toBe(201);
        return (await response.json()) as { access_token: string };
      };
      const password = "correct horse battery staple";
      const { access_token } = await send("/v1/sessions", { email: "ada@acme.test", password });
      await send("/v1/invitations", { email: "eve@acme.test", role: "viewer" }, access_token);
      await expect
        .poll(first.output, SOON)
        .toMatch(
          /^mail to eve@acme\.test: Invitation to Acme\nada@acme\.test invites you to Acme, as viewer\.$/m,
        );
      const [link = ""] = /http:\S+#invitation=pwi_\S+/.exec(first.output()) ?? [];
      expect(link).toMatch(new RegExp(`^http://localhost:${port}/account#`));
      const [mailbox = ""] =
        /http:\/\/127\.0\.0\.1:\d+\/(?= +the mail that it sends)/.exec(first.output()) ?? [];
      const mails = await (await fetch(mailbox)).text();
      const [, mail = ""] = /href="\/(\d+)">Invitation to Acme</.exec(mails) ?? [];
      expect(await (await fetch(`${mailbox}${mail}`)).text()).toContain(link);
    });

    it("loses nothing to another one in the same folder, which names it", async () => {
      const other = String((await freePorts()) + 3);
      expect(await refusal(["--fresh"], { PORT: other })).toMatch(/\.partywall is in use by process \d+ \(/);
      const refused = await refusal(["--fresh"]);
      expect(refused).toMatch(new RegExp(`Port ${port} for the API is in use by process \\d+ \\(.*workerd`));
      expect(refused).toMatch(/PORT=\d+ npm run dev takes \d+ to \d+\.$/m);
      const session = await fetch(`http://127.0.0.1:${port}/v1/sessions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email: "ada@acme.test", password: "correct horse battery staple" }),
      });
      expect(session.status).toBe(201);
    });

    it("ends with Ctrl-C, and leaves no process behind", async () => {
      process.kill(-(first.npm.pid ?? 0), "SIGINT");
      expect(await first.ended).toBe(0);
      await isEmpty();
    });
  });

  it.each([
    ["npm", /^npm run dev/, ""],
    ["the process that npm started", /^node -r \.\/drizzle/, ""],
    ["wrangler", /wrangler\.js dev/, "wrangler dev has ended"],
    ["PostgreSQL", /bin\/postgres -D/, "PostgreSQL has ended"],
    ["the guard of wrangler", /guard .*node .*wrangler\.js/, "wrangler dev has ended"],
  ])("leaves no process behind when %s is killed, and says what has ended", async (_name, victim, told) => {
    const { output, ended } = await serving();
    process.kill(find(victim), "SIGKILL");
    await ended;
    await isEmpty();
    expect(output()).toContain(told);
    expect(output()).not.toMatch(/^ +at /m);
  });

  it("opens the links in its mails at the port that it has now", async () => {
    const other = await freePorts(port + 3);
    const { npm } = await serving([], { PORT: String(other) });
    npm.kill("SIGTERM");
    const variables = readFileSync(join(copy, ".dev.vars"), "utf8");
    expect(variables).toContain(`\nACCOUNT_URL='http://localhost:${other}/account'\n`);
    await isEmpty();
  });

  it("names the way out when the data is another version's, and takes it", async () => {
    const data = join(copy, ".partywall/data/PG_VERSION");
    writeFileSync(data, "17\n");
    const told = await refusal();
    expect(told).toContain(`${dirname(data)} was made by PostgreSQL 17, and this is 18.`);
    expect(told).toContain(FRESH);
    const { npm } = await serving(["--fresh"]);
    npm.kill("SIGTERM");
    await isEmpty();
  });

  it.each([
    ["the superuser's password is another", ".partywall/password", "password authentication failed"],
    ["a connection string in .dev.vars is garbage", ".dev.vars", "DATABASE_URL is no URL"],
  ])("says what is wrong and names the way out when %s", async (_name, file, told) => {
    const path = join(copy, file);
    const before = readFileSync(path, "utf8");
    onTestFinished(() => writeFileSync(path, before));
    writeFileSync(path, file === ".dev.vars" ? before.replace("postgres:", "") : "garbage");
    const refused = await refusal();
    expect(refused).toContain(told);
    expect(refused).toContain(FRESH);
  });
});
