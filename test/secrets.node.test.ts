import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ask, makeBed, makeTenant, signIn, type Bed } from "./bench/bed.ts";
import { makeFolder, serve, type Served } from "./bench/workerd.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { deployedBundle } from "./support/node/deployed.ts";
import { startMail } from "./support/node/mail.ts";

// What somebody finds who has stolen a dump of the database and the objects' storage.

const PASSWORD = "a password that only its owner knows";
const EMAIL = "cy@secrets.test";
/** What a key, a token or a hash looks like, and nothing shorter. */
const WORD = /[\w.-]{22,}/g;

const resources = new AsyncDisposableStack();
let bed: Bed;
let worker: Served;
/** Every secret that was given out, whole. */
let given: Record<string, string>;
let dump: string;
/** The objects' storage, as Latin-1 and as what is left of it when it is read as UTF-16. */
let stored: string;

beforeAll(async () => {
  bed = await makeBed(resources, 16, startMigrated);
  const mail = await startMail();
  resources.defer(() => mail.stop());
  const objects = makeFolder(resources);
  const variables = {
    ...bed.variables,
    MAIL_URL: mail.url,
    MAIL_FROM: "partywall <no-reply@partywall.test>",
    INVITATION_URL: "https://app.partywall.test/join#{token}",
  };
  worker = await serve(resources, await deployedBundle(), variables, { objects });
  given = await giveOut(mail.url);
  [dump, stored] = [await dumped(bed), storage(objects)];
}, 60_000);
afterAll(() => resources.disposeAsync());

type Session = { access_token: string; refresh_token: string };

/** Has every kind of secret made, used and, where it can be, replaced. */
async function giveOut(mailbox: string): Promise<Record<string, string>> {
  await makeTenant(bed, worker, "secrets", [{ name: "minute", limit: 1_000_000, window: 60 }]);
  const { token } = await signIn(worker, "secrets");
  // Only a confirmed address invites people.
  const verification = await mailed(mailbox, "secrets@bench.test", "pwv");
  await ask(worker, "/v1/email-verifications/confirm", { body: { token: verification } });
  await ask(worker, "/v1/invitations", { token, body: { email: EMAIL, role: "member" } });
  await ask(worker, "/v1/invitations", { token, body: { email: "waiting@secrets.test", role: "member" } });
  const invitation = await mailed(mailbox, EMAIL, "pwi");
  const joined = await ask<Session>(worker, "/v1/invitations/accept", {
    body: { token: invitation, password: PASSWORD },
  });
  const { refresh_token } = joined;
  const refreshed = await ask<Session>(worker, "/v1/sessions/refresh", { body: { refresh_token } });
  const wanted = { name: "CI", scopes: ["projects:read"] };
  const key = await ask<{ id: string; key: string }>(worker, "/v1/api-keys", { token, body: wanted });
  const rotated = await ask<{ key: string }>(worker, `/v1/api-keys/${key.id}/rotate`, { token, body: {} });
  for (const bearer of [key.key, rotated.key]) await ask(worker, "/v1/projects", { token: bearer });
  return {
    password: PASSWORD,
    accessToken: token,
    joinedAccessToken: joined.access_token,
    refreshToken: refresh_token,
    nextRefreshToken: refreshed.refresh_token,
    apiKey: key.key,
    rotatedApiKey: rotated.key,
    usedInvitation: invitation,
    invitation: await mailed(mailbox, "waiting@secrets.test", "pwi"),
  };
}

/** The token of this prefix in the first mail to this address, once it has come. */
async function mailed(mailbox: string, to: string, prefix: string): Promise<string> {
  const mails = await (await fetch(`${mailbox}?to=${to}&least=1`)).text();
  const [token] = new RegExp(`${prefix}_[\\w-]+`).exec(mails) ?? [];
  if (!token) throw new Error(`no ${prefix} was mailed to ${to}`);
  return token;
}

/** Every row of every table that is not Postgres's own, as text; bytes are in hex. */
async function dumped({ superuserUrl }: Bed): Promise<string> {
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class
       where relkind = 'r' and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'`,
    );
    const texts: string[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      texts.push(...rows.map(({ row }) => row));
    }
    return texts.join("\n");
  } finally {
    await client.end();
  }
}

function storage(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  const bytes = files
    .filter((file) => file.isFile())
    .map((file) => readFileSync(join(file.parentPath, file.name)));
  return bytes.flatMap((file) => [file.toString("latin1"), file.toString("utf16le")]).join("\n");
}

/** A secret in each form in which it could lie about: whole, each long part of it, and the bytes of those in hex. */
function formsOf(secret: string): string[] {
  const parts = secret.split(/[._]/).filter((part) => part.length >= 22);
  // The claims of a token are no secret; its signature is.
  const secrets = secret.startsWith("eyJ") ? parts.slice(-1) : parts;
  return [secret, ...secrets, ...secrets.map((part) => Buffer.from(part, "base64url").toString("hex"))];
}

it("finds what is there to be found", () => {
  for (const text of [EMAIL, "waiting@secrets.test", "CI"]) expect(dump).toContain(text);
  const hashes = [...dump.matchAll(/\\x([\da-f]{64})/g)].map(([, hex = ""]) => Buffer.from(hex, "hex"));
  const known = hashes.filter((hash) => stored.includes(hash.toString("base64url")));
  // The object keeps the keys' hashes, as the database does.
  expect(known.length).toBeGreaterThanOrEqual(2);
});

it("holds no secret that was given out, in any form", () => {
  expect(Object.keys(given)).toHaveLength(9);
  for (const [name, secret] of Object.entries(given))
    for (const form of formsOf(secret)) {
      expect(dump.includes(form), `the database holds the ${name}`).toBe(false);
      expect(stored.includes(form), `the objects hold the ${name}`).toBe(false);
    }
});

it("holds no word that opens anything", async () => {
  const inHex = [...dump.matchAll(/\\x([\da-f]{32,})/g)].map(([, hex = ""]) => Buffer.from(hex, "hex"));
  const bytes = inHex.map((word) => word.toString("base64url"));
  const words = new Set([...bytes, ...[dump, stored].flatMap((text) => text.match(WORD) ?? [])]);
  expect(words.size).toBeGreaterThan(20);
  const post = (path: string, body: object) =>
    fetch(`http://127.0.0.1:${worker.port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  for (const word of words) {
    const tried = [
      ...["", "pw_bench_"].map((prefix) =>
        fetch(`http://127.0.0.1:${worker.port}/v1/me`, {
          headers: { authorization: `Bearer ${prefix}${word}` },
        }),
      ),
      ...["", "pwr_"].map((prefix) => post("/v1/sessions/refresh", { refresh_token: prefix + word })),
      ...["", "pwi_"].map((prefix) =>
        post("/v1/invitations/accept", { token: prefix + word, password: word }),
      ),
    ];
    for (const answer of await Promise.all(tried)) expect([401, 404, 410, 422]).toContain(answer.status);
  }
  // And all of them are good where they are shown.
  const { apiKey = "", nextRefreshToken, invitation } = given;
  await ask(worker, "/v1/projects", { token: apiKey });
  await ask(worker, "/v1/sessions/refresh", { body: { refresh_token: nextRefreshToken } });
  await ask(worker, "/v1/invitations/accept", { body: { token: invitation, password: PASSWORD } });
  await ask(worker, "/v1/sessions", { body: { email: EMAIL, password: PASSWORD } });
});
