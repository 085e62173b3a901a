import { cpSync, existsSync, globSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startStack, type Stack } from "../drizzle/local/stack.ts";
import { makeDatabaseUrls, makeSecrets } from "../drizzle/variables.ts";
import { bundleCheckout, serve, type Served } from "./bench/workerd.ts";
import { answer, ask, signIn } from "./support/node/ask.ts";
import { copyProject } from "./support/node/copy.ts";
import { BORDER, follow, migrateFrom, run, stepsOf, stepsToFollow } from "./support/node/guide.ts";
import { DEMANDED, LATER, makeLater } from "./support/node/later.ts";

// Whoever has deleted the sample tests no upgrade: this begins with it.
const HAS_SAMPLE = existsSync(join(import.meta.dirname, "../src/product/projects.ts"));
const ADOPTER = join(import.meta.dirname, "adopter");
const UPGRADE = join(import.meta.dirname, "../docs/upgrade.md");
const PASSWORD = "correct horse battery staple";

/** partywall's own repository, in which a later version is made, and a clone of it in which the invoicing product is. */
let partywall: string;
let adopter: string;
let stack: Stack;
let variables: ReturnType<typeof makeDatabaseUrls> & Awaited<ReturnType<typeof makeSecrets>>;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  // Not with %23: the test runner decodes that twice, and its own tests of processes do not start there.
  partywall = copyProject("partywall é");
  adopter = join(dirname(partywall), "invoicing");
  stack = await startStack({ dir: join(dirname(partywall), "database"), ephemeral: true });
  variables = { ...makeDatabaseUrls(`127.0.0.1:${stack.postgresPort}`), ...(await makeSecrets()) };
}, 60_000);
afterAll(async () => {
  await resources.disposeAsync();
  await stack.stop();
  rmSync(dirname(partywall), { recursive: true, force: true });
}, 60_000);

const git = async (folder: string, ...args: string[]): Promise<string> =>
  (await run(folder, "git", args, GIT)).trimEnd();
/** Nothing of this machine's own configuration decides what a merge does. */
const GIT = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_SYSTEM: "/dev/null",
  ...Object.fromEntries(
    ["AUTHOR", "COMMITTER"].flatMap((who) => [
      [`GIT_${who}_NAME`, "Ada"],
      [`GIT_${who}_EMAIL`, "ada@example.test"],
    ]),
  ),
};
const commit = async (folder: string, message: string): Promise<string> => {
  // A link here, and so not what .gitignore means.
  writeFileSync(join(folder, ".git/info/exclude"), "node_modules\n");
  await git(folder, "add", "--all");
  await git(folder, "commit", "--quiet", "--message", message);
  return git(folder, "rev-parse", "HEAD");
};
const filesOf = (listed: string) => listed.split("\n").filter(Boolean);

/** The commands of a section of docs/upgrade.md, block by block. */
const blocksOf = (title: string) => stepsOf(UPGRADE, title).map(({ body }) => body);
const sh = (folder: string, body: string, more: Record<string, string> = {}) =>
  follow({ language: "sh", file: "", body }, folder, { ...GIT, PARTYWALL: partywall, ...more });

/** The Worker of a checkout, as it would be deployed. */
async function deployed(folder: string): Promise<Served> {
  return serve(resources, await bundleCheckout(resources, folder), {
    ...variables,
    NEON_FETCH_ENDPOINT: stack.endpoint,
    ISSUER: "https://api.partywall.test",
    TENANT_LOCATION_HINT: "weur",
    API_KEY_ENVIRONMENT: "test",
    LOG_REQUESTS: "off",
    MOTTO: "as set",
  });
}

const signInAt = (worker: Served) => signIn(worker, "ada@acme.test", PASSWORD);

/** Of `npm run check` what a merge can break: the linter, for one, judges each file by itself, and both sides have passed it. */
function checkOf(folder: string): string {
  const { scripts } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const parts = (scripts["check"] ?? "")
    .split(" && ")
    .filter((part) => /wrangler types|tsc|contract/.test(part));
  expect(parts.length).toBeGreaterThan(5);
  return `export PATH="$PWD/node_modules/.bin:$PATH"\n${parts.join("\n")}`;
}

/** Keeps both sides' lines of a conflict; of a variable that both sides name, one's own. */
function settle(file: string): void {
  const nameOf = (line: string) => line.split(" = ")[0];
  const settled = readFileSync(file, "utf8").replaceAll(
    /^<<<<<<< .*\n([\s\S]*?)^=======\n([\s\S]*?)^>>>>>>> .*\n/gm,
    (_, own: string, theirs: string) => {
      const named = new Set(own.split("\n").map(nameOf));
      return (
        own +
        theirs
          .split("\n")
          .filter((line) => !named.has(nameOf(line)))
          .map((line) => `${line}\n`)
          .join("")
      );
    },
  );
  writeFileSync(file, settled);
}

/** Makes partywall's repository, and the product that somebody builds in a clone of it, with a README and settings of their own. */
async function adopt(): Promise<void> {
  await git(partywall, "init", "--quiet", "--initial-branch", "main");
  await commit(partywall, "partywall");
  const [clone = ""] = blocksOf("Begin with its history");
  await sh(dirname(partywall), clone);
  symlinkSync(join(partywall, "node_modules"), join(adopter, "node_modules"));
  const steps = stepsToFollow(join(adopter, "CONTRIBUTING.md"), "Your own resource in ten minutes");
  // test/guide.node.test.ts also does the last step, the tests.
  for (const step of steps.slice(0, -1)) await follow(step, adopter);
  cpSync(ADOPTER, adopter, { recursive: true });
  await run(adopter, "npm", ["run", "db:generate", "--", "--name", "invoicing"]);
  await run(adopter, "npm", ["run", "client"]);
  writeFileSync(join(adopter, "README.md"), "# Invoicing\n\nInvoices for roofers.\n");
  const config = join(adopter, "wrangler.toml");
  const own = readFileSync(config, "utf8")
    .replace('name = "partywall"', 'name = "invoicing"')
    .replace(/^region = .*$/m, 'region = "aws:us-east-1"')
    .replaceAll(/^API_NAME = .*$/gm, 'API_NAME = "Invoicing"')
    .replaceAll(/^BROWSER_SESSIONS = .*$/gm, 'BROWSER_SESSIONS = "on"');
  writeFileSync(
    config,
    `${own}\n[[kv_namespaces]]\nbinding = "RATES"\nid = "0123456789abcdef0123456789abcdef"\n`,
  );
  await commit(adopter, "Invoicing");
}

it.runIf(HAS_SAMPLE)(
  "a later partywall merges into a product as docs/upgrade.md says: nothing of the product's changes, and its data is served on",
  async () => {
    await adopt();
    const before = await git(adopter, "rev-parse", "HEAD");
    await migrateFrom(adopter, stack.superuserUrl, variables);
    const old = await deployed(adopter);
    const account = { email: "ada@acme.test", password: PASSWORD, tenant: { name: "Acme", slug: "acme" } };
    await answer(ask(old, "POST", "/v1/signup", undefined, account));
    const token = await signInAt(old);
    const customer = ask(old, "POST", "/v1/customers", token, { name: "Roofers" });
    const made = ask(old, "POST", "/v1/invoices", token, {
      customer_id: (await answer<{ id: string }>(customer)).id,
      currency: "EUR",
      lines: [{ description: "Tiles", quantity: "3", unit_price: "1.10" }],
    });
    const invoice = await answer<{ id: string }>(made);

    await makeLater(partywall);
    await commit(partywall, LATER);

    const [news = "", merge = "", check = "", finish = ""] = blocksOf("Merge");
    expect(await sh(adopter, news)).toContain("PLAN_MOTTO");
    const merged = await sh(adopter, merge);
    const conflicts = filesOf(merged).flatMap((line) => /^(?:U.|.U|AA|DD) (.*)$/.exec(line)?.[1] ?? []);
    expect(conflicts).toEqual(
      expect.arrayContaining([
        "README.md",
        "drizzle/content/meta/_journal.json",
        "src/product/projects.ts",
        "test/product/projects.test.ts",
        "wrangler.toml",
      ]),
    );
    expect(conflicts.filter((name) => !BORDER.test(name))).toEqual([]);
    expect(filesOf(merged).at(-1)).toBe("wrangler.toml");
    expect(filesOf(await git(adopter, "diff", "--name-only", "--diff-filter", "U"))).toEqual([
      "wrangler.toml",
    ]);
    settle(join(adopter, "wrangler.toml"));

    // The modules are those of this checkout, and of the tests the product's are enough.
    const lines = check.trimEnd().split("\n");
    expect([lines.at(0), ...lines.slice(-2)]).toEqual(["npm ci", "npm run check", "npm test"]);
    const generating = lines.slice(1, -2).join("\n");
    await expect(sh(adopter, generating)).rejects.toThrow("PLAN_MOTTO");
    const plans = join(adopter, DEMANDED.file);
    writeFileSync(plans, `${readFileSync(plans, "utf8")}\n${DEMANDED.line}`);
    expect(await sh(adopter, generating)).toContain("No schema changes");
    await sh(adopter, checkOf(adopter));
    const tests = ["test/product/notes.test.ts", "test/product/invoicing.test.ts"];
    expect(await run(adopter, "npm", ["test", "--", "--project", "product", ...tests])).toMatch(
      /Test Files .*2 passed/,
    );

    expect(finish).toMatch(/^npm run deploy .*$/m);
    await sh(adopter, finish.replace(/^npm run deploy .*$/m, ""));
    const changed = filesOf(await git(adopter, "diff", "--name-only", before, "HEAD")).filter((name) =>
      BORDER.test(name),
    );
    expect(changed).toEqual([DEMANDED.file, "wrangler.toml"]);
    const config = readFileSync(join(adopter, "wrangler.toml"), "utf8");
    expect(
      config.match(
        /^(?:name = "invoicing"|API_NAME|BROWSER_SESSIONS|MOTTO|binding = "MOTTOS"|binding = "RATES").*$/gm,
      ),
    ).toEqual([
      'name = "invoicing"',
      'API_NAME = "Invoicing"',
      'BROWSER_SESSIONS = "on"',
      'MOTTO = "from wrangler.toml"',
      'binding = "MOTTOS"',
      'API_NAME = "Invoicing"',
      'BROWSER_SESSIONS = "on"',
      'MOTTO = "from wrangler.toml"',
      'binding = "RATES"',
    ]);
    const [sample = ""] = blocksOf("What the newer sample has");
    expect(await sh(adopter, sample)).toContain("+// Later.");

    // As `npm run deploy` does: the database first, while the older Worker still answers.
    expect(await run(adopter, "npm", ["run", "db:migrate"], variables)).toContain(
      "Everything is up to date.",
    );
    const mine = async (worker: Served) => {
      const list = ask(worker, "GET", "/v1/invoices", await signInAt(worker));
      return (await answer<{ data: object[] }>(list)).data;
    };
    const listed = await mine(old);
    expect(listed).toMatchObject([{ id: invoice.id, total: "3.30" }]);
    await old.stop();
    const later = await deployed(adopter);
    expect(await mine(later)).toEqual(listed);
    expect((await ask(later, "GET", "/health")).headers.get("x-motto")).toBe("as set, later, undefined");
    expect(
      await run(adopter, process.execPath, ["drizzle/doctor.ts", variables.OPERATOR_DATABASE_URL]),
    ).toContain("the wall stands");
  },
  1_200_000,
);

it.runIf(HAS_SAMPLE)(
  "a product that began with a download merges as well, once it has said which version that was",
  async () => {
    const downloaded = join(dirname(partywall), "downloaded");
    const begun = await git(partywall, "rev-list", "--max-parents=0", "HEAD");
    await git(dirname(partywall), "clone", "--quiet", partywall, downloaded);
    await git(downloaded, "checkout", "--quiet", begun);
    rmSync(join(downloaded, ".git"), { recursive: true });
    await git(downloaded, "init", "--quiet", "--initial-branch", "main");
    writeFileSync(join(downloaded, "src/product/own.ts"), "export {};\n");
    const own = await commit(downloaded, "A product");

    const [, say = ""] = blocksOf("Begin with its history");
    await sh(downloaded, say, { BEGUN_WITH: begun });
    expect(await git(downloaded, "diff", "--name-only", own, "HEAD")).toBe("");
    const [, merge = ""] = blocksOf("Merge");
    await sh(downloaded, merge);
    await commit(downloaded, "Upgrade partywall");
    expect(filesOf(await git(downloaded, "diff", "--name-only", own, "HEAD"))).toContain("src/edge/motto.ts");
    expect(globSync("src/product/*.ts", { cwd: downloaded })).toContain("src/product/own.ts");
  },
  60_000,
);
