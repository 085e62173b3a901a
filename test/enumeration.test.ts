import crypto from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { countCalls } from "./support/calls.ts";
import { PASSWORD, signedUp, type SignedIn } from "./support/client.ts";
import { mailsTo } from "./support/mails.ts";
import { newSlug, post, someone, verified } from "./support/people.ts";

// No answer, and nothing that it costs, says whether an address has an account. How long it takes: `npm run bench -- known`.

const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

describe("whether an address has an account", () => {
  /** All that an answer tells: status, names of headers, body without the request's id; and what it cost. */
  async function told(send: () => Promise<Response>, email: string) {
    const before = (await mailsTo(email)).length;
    const calls = countCalls();
    const hashing = vi.spyOn(crypto, "scrypt");
    const response = await send();
    const text = await response.text();
    const { instance: _, ...body } = JSON.parse(text === "" ? "{}" : text) as Record<string, unknown>;
    const { sql } = calls;
    const hashes = hashing.mock.calls.length;
    vi.restoreAllMocks();
    return {
      status: response.status,
      headers: [...response.headers.keys()].sort(),
      body,
      sql,
      hashes,
      before,
    };
  }
  /** Whoever signed up, once the mail about that has come. */
  const mailedTo = async (made: Promise<SignedIn>) => {
    const { email } = (await made).user;
    await mailsTo(email, 1);
    return email;
  };
  const people = async () => ({
    account: await mailedTo(verified()),
    unconfirmed: await mailedTo(signedUp()),
    nobody: someone(),
  });

  it.each<[string, (email: string) => Promise<Response>, mails: number, hashes: number]>([
    ["a password reset", (email) => post("/v1/password-resets", { email }), 1, 0],
    ["a wrong sign-in", (email) => post("/v1/sessions", { email, password: "not the password" }), 0, 1],
    [
      "a sign-up that verifies first",
      (email) => {
        settings.SIGN_UP = "verify_first";
        return post("/v1/signup", { email, password: PASSWORD, tenant: { name: "x", slug: newSlug() } });
      },
      1,
      1,
    ],
  ])("is not told by %s: not by its answer, statements, hashes or mails", async (_, send, mails, hashes) => {
    const { account, unconfirmed, nobody } = await people();
    const seen = [];
    for (const email of [account, unconfirmed, nobody]) {
      const { before, ...answer } = await told(() => send(email), email);
      seen.push(answer);
      expect(await mailsTo(email, before + mails)).toHaveLength(before + mails);
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
    expect(seen[0]).toMatchObject({ sql: 1, hashes });
  });

  it("is not told by a change of one's own address towards it", async () => {
    const ada = await verified();
    const { account, unconfirmed, nobody } = await people();
    const seen = [];
    for (const email of [account, unconfirmed, nobody]) {
      const change = () => post("/v1/me/email", { email, password: PASSWORD }, ada.token);
      const { before, ...answer } = await told(change, email);
      seen.push(answer);
      expect(await mailsTo(email, before + 1)).toHaveLength(before + 1);
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});
