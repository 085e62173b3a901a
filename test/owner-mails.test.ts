import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { settings } from "../src/env.ts";
import { mailSupportNews, mailUsageWarnings } from "../src/identity/owner-mails.ts";
import { sweep } from "../src/lifecycle/sweep.ts";
import { answered, newMember, newTenant, stage, type SignedIn } from "./support/client.ts";
import { mailsTo } from "./support/mails.ts";
import { newOperator, type TestOperator } from "./support/operators.ts";
import {
  approve,
  askSupport,
  end,
  enterTenant,
  setMode,
  supportToken,
  type SupportSession,
} from "./support/support.ts";

// What a tenant's owners are mailed: of operators who look in, and of a month's limit that is nearly used.

const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
});

let operator: TestOperator;
beforeAll(async () => {
  operator = await newOperator("support");
});

/** The subjects of an owner's mails once there are so many. */
const subjects = async ({ user }: SignedIn, least: number) =>
  (await mailsTo(user.email, least)).map(({ body }) => body.subject);
/**
 * All of them, once there is nothing left to mail and there are so many: a sweep of another file's may have taken some, and
 * still be at it.
 */
const allSubjects = async (owner: SignedIn, least = 0, mail = mailAll) => {
  await mail();
  return subjects(owner, least);
};
const mailAll = async () => {
  await mailSupportNews(null);
  await mailUsageWarnings();
};

describe("of an operator who looks in, a tenant's owners are mailed", () => {
  const asked = ({ tenant }: SignedIn) => `Support asks for access to ${tenant.name}`;
  const started = ({ tenant }: SignedIn) => `Support has access to ${tenant.name}`;
  const ended = ({ tenant }: SignedIn) => `Support has no access to ${tenant.name} any more`;

  it("that they ask, are in, and are out, once each, with who it is and why", async () => {
    const ada = await newTenant();
    await answered(200, setMode(ada, "ask"));
    const body = { reason: "Ticket 4713", minutes: 20, write: true };
    const { id } = await answered<SupportSession>(202, askSupport(operator, ada, body));
    expect(await subjects(ada, 1)).toEqual([asked(ada)]);
    for (let again = 0; again < 2; again++) await answered(200, approve(ada, id));
    expect(await subjects(ada, 2)).toEqual([asked(ada), started(ada)]);
    await answered(200, supportToken(operator, ada, id));
    for (let again = 0; again < 2; again++) await answered(204, end(ada, id));
    expect(await subjects(ada, 3)).toEqual([asked(ada), started(ada), ended(ada)]);
    expect(await allSubjects(ada)).toHaveLength(3);
    const texts = (await mailsTo(ada.user.email)).map((mail) => mail.body.text);
    for (const text of texts) {
      expect(text).toContain(operator.email);
      expect(text).toContain("Ticket 4713");
    }
    expect(texts[0]).toContain(`to read and change content in ${ada.tenant.name}, for 20 minutes`);
  });

  it("all of them, and nobody else: no admin, and no address that nobody has shown to be theirs", async () => {
    const ada = await newTenant();
    const [second, unconfirmed, admin] = [
      await newMember(ada.tenant.id, "owner"),
      await newMember(ada.tenant.id, "owner"),
      await newMember(ada.tenant.id, "admin"),
    ];
    await stage`update control.users set email_verified_at = null where id = ${unconfirmed.user.id}`;
    await answered(200, setMode(ada, "on"));
    await enterTenant(operator, ada);
    for (const owner of [ada, second]) expect(await subjects(owner, 1)).toEqual([started(ada)]);
    for (const other of [unconfirmed, admin]) expect(await allSubjects(other)).toEqual([]);
  });

  it("that it has ended, whatever has ended it, by the next sweep", async () => {
    const ends: ((operator: TestOperator, of: SignedIn) => Promise<unknown>)[] = [
      ({ id }) => stage`update control.operators set disabled_at = now() where id = ${id}`,
      (_, { tenant }) =>
        stage`update control.support_sessions set expires_at = now() where tenant_id = ${tenant.id}`,
    ];
    for (const over of ends) {
      const [gone, ada] = [await newOperator("support"), await newTenant()];
      await answered(200, setMode(ada, "on"));
      await enterTenant(gone, ada);
      await subjects(ada, 1);
      await over(gone, ada);
      expect(await allSubjects(ada, 2, () => sweep(Date.now()))).toEqual([started(ada), ended(ada)]);
      expect(await allSubjects(ada)).toHaveLength(2);
    }
  });

  it("nothing of the end of what never began", async () => {
    const ada = await newTenant();
    await answered(200, setMode(ada, "ask"));
    const { id } = await answered<SupportSession>(202, askSupport(operator, ada));
    expect(await subjects(ada, 1)).toEqual([asked(ada)]);
    await answered(204, end(ada, id));
    expect(await allSubjects(ada)).toEqual([asked(ada)]);
  });

  it("also when more are due before it than are taken at once, and nobody is mailed of those", async () => {
    const ada = await newTenant();
    await answered(200, setMode(ada, "on"));
    settings.MAIL_URL = "";
    await enterTenant(operator, ada);
    Object.assign(settings, begun);
    await stage`insert into control.support_sessions (tenant_id, id, operator_id, operator, reason, minutes, write, created_at,
        ended_at, end_reason, ended_by_type, ended_by)
      select tenant_id, gen_random_uuid(), operator_id, operator, 'Never begun', minutes, write, now() - interval '1 hour',
        now(), 'ended', 'operator', operator_id
      from control.support_sessions cross join generate_series(1, 250) where tenant_id = ${ada.tenant.id}`;
    await mailSupportNews(ada.tenant.id);
    expect(await allSubjects(ada, 1)).toEqual([started(ada)]);
  });

  it("once, however many look at the same time", async () => {
    const ada = await newTenant();
    await answered(200, setMode(ada, "on"));
    settings.MAIL_URL = "";
    await enterTenant(operator, ada);
    Object.assign(settings, begun);
    await Promise.all(Array.from({ length: 5 }, () => mailSupportNews(ada.tenant.id)));
    expect(await allSubjects(ada, 1)).toEqual([started(ada)]);
  });
});

describe("of a month's limit, a tenant's owners are mailed", () => {
  const warned = (of: SignedIn, percent: number, age = "0 hours") =>
    stage`insert into control.usage_warnings (tenant_id, id, month, percent, used, quota, created_at)
      values (${of.tenant.id}, gen_random_uuid(), '2026-11-01', ${percent}, ${percent * 1000}, 100000, now() - ${age}::interval)`;
  /** Of more months than are taken at once. */
  const warnedOften = (of: SignedIn, age: string) =>
    stage`insert into control.usage_warnings (tenant_id, id, month, percent, used, quota, created_at)
      select ${of.tenant.id}, gen_random_uuid(), '1990-01-01'::date + month * interval '1 month', 80, 80000, 100000,
        now() - ${age}::interval from generate_series(1, 250) month`;
  const subject = ({ tenant }: SignedIn, percent: number) =>
    `${tenant.name} has used ${percent} % of its month's limit`;

  it("that 80 and 100 % are used, once each, by the next sweep", async () => {
    const ada = await newTenant();
    await warned(ada, 80);
    expect(await allSubjects(ada, 1, () => sweep(Date.now()))).toEqual([subject(ada, 80)]);
    await warned(ada, 100);
    for (let again = 0; again < 2; again++)
      expect(await allSubjects(ada, 2)).toEqual([subject(ada, 80), subject(ada, 100)]);
    const [first] = await mailsTo(ada.user.email);
    expect(first?.body.text).toContain("In 2026-11,");
    expect(first?.body.text).toContain("80,000 of the 100,000 units");
  });

  it("of both at once the greater one, and of none that is a day old", async () => {
    const [ada, bob] = [await newTenant(), await newTenant()];
    await warned(ada, 80);
    await warned(ada, 100);
    await warned(bob, 80, "25 hours");
    expect(await allSubjects(ada, 1)).toEqual([subject(ada, 100)]);
    expect(await allSubjects(bob)).toEqual([]);
  });

  it("also when more are due before it than are taken at once, and are no news any more", async () => {
    const [ada, bob] = [await newTenant(), await newTenant()];
    await warnedOften(bob, "25 hours");
    await warned(ada, 80);
    expect(await allSubjects(ada, 1)).toEqual([subject(ada, 80)]);
    expect(await allSubjects(bob)).toEqual([]);
  });

  it("of both of a month the greater one, also when they are not taken at once", async () => {
    const [ada, unconfirmed] = [await newTenant(), await newTenant()];
    await stage`update control.users set email_verified_at = null where id = ${unconfirmed.user.id}`;
    await warned(ada, 80, "2 hours");
    await warnedOften(unconfirmed, "1 hour");
    await warned(ada, 100);
    expect(await allSubjects(ada, 1)).toEqual([subject(ada, 100)]);
  });

  it("later, where the deployment sends no mail yet", async () => {
    const ada = await newTenant();
    await warned(ada, 80);
    settings.MAIL_URL = "";
    await mailAll();
    Object.assign(settings, begun);
    expect(await allSubjects(ada, 1)).toEqual([subject(ada, 80)]);
  });
});
