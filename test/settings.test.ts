import { expect, inject, it } from "vitest";
import { readSettings } from "../src/settings.ts";

const whole = () => ({ ...inject("variables"), TENANT_LOCATION_HINT: "weur", API_KEY_ENVIRONMENT: "test" });

it("reads a whole configuration", () => {
  expect(readSettings(whole()).TENANT_CONTEXT_KEYS[0]?.key).toHaveLength(32);
});

const REQUIRED = [
  "DATABASE_URL",
  "IDENTITY_DATABASE_URL",
  "OPERATOR_DATABASE_URL",
  "TENANT_CONTEXT_KEYS",
  "TOKEN_SIGNING_KEYS",
  "OPAQUE_TOKEN_KEYS",
  "PASSWORD_PEPPER",
  "OPERATOR_TOKEN",
  "ISSUER",
];

it.each(REQUIRED)("refuses to start without %s, and says so", (name) => {
  expect(() => readSettings({ ...whole(), [name]: undefined })).toThrow(`${name} is missing. Set it to `);
  expect(() => readSettings({ ...whole(), [name]: "" })).toThrow(`${name} is missing. Set it to `);
});

it.each(REQUIRED)("refuses a placeholder for %s, and does not repeat its value", (name) => {
  const start = () => readSettings({ ...whole(), [name]: "changeme-s3cret" });
  expect(start).toThrow(`${name} is not well formed. Set it to `);
  expect(start).not.toThrow(/s3cret/);
});

it.each([
  ["ACCOUNT_URL", "https://app.example.com/account#now"],
  ["ACCOUNT_URL", "javascript:alert(1)"],
  ["INVITATION_URL", "https://app.example.com/join"],
  ["MAIL_URL", "smtp"],
])("refuses a %s that no mail could use: %s", (name, value) => {
  expect(() => readSettings({ ...whole(), [name]: value })).toThrow(`${name} is not well formed. Set it to `);
});

it.each([["https://mail.example.com/send"], ["cloudflare"]])("asks who sends mail by %s", (MAIL_URL) => {
  const start = (MAIL_FROM: string) => () => readSettings({ ...whole(), MAIL_URL, MAIL_FROM, EMAIL: {} });
  expect(start("")).toThrow("MAIL_FROM is missing. Set it to ");
  expect(start("no-reply@example.com")).not.toThrow();
});

it.each([
  [undefined, 14],
  ["original", 14],
  [`aaaaaaaa:${"A".repeat(43)}`, 14],
  [`aaaaaaaa:${"A".repeat(43)}:8`, 8],
])("hashes passwords by PASSWORD_PEPPERS %s at the cost of %i", (PASSWORD_PEPPERS, cost) => {
  expect(readSettings({ ...whole(), PASSWORD_PEPPERS }).PASSWORD_PEPPERS[0].cost).toBe(cost);
});

it.each(["https://api.example.com", "https://api.partywall.test.example.com", "http://192.0.2.1:8787"])(
  "refuses cheap hashes of passwords where %s is the API",
  (ISSUER) => {
    const start = (PASSWORD_PEPPERS: string) => () => readSettings({ ...whole(), ISSUER, PASSWORD_PEPPERS });
    expect(start(`original,aaaaaaaa:${"A".repeat(43)}:8`)).toThrow(
      "PASSWORD_PEPPERS is not well formed. Set it to ",
    );
    expect(start(`original,aaaaaaaa:${"A".repeat(43)}`)).not.toThrow();
  },
);

it("asks of which organization a key of Neon's API is", () => {
  const start = (NEON_ORG_ID: string) => () =>
    readSettings({ ...whole(), NEON_API_KEY: "napi_s3cret", NEON_ORG_ID });
  expect(start("")).toThrow("NEON_ORG_ID is missing. Set it to ");
  expect(start("")).not.toThrow(/s3cret/);
  expect(start("org-ocean-art-12345678")).not.toThrow();
});

it.each([
  "https://console.neon.tech",
  "https://127.0.0.1:8443",
  "http://console.neon.tech.example.com",
  "http://127.0.0.1.example.com",
  "http://localhost@example.com",
  "http://localhost:80@example.com",
  "http://127.0.0.1/api",
])("refuses to send the key of Neon's API to %s", (NEON_API_URL) => {
  const start = () => readSettings({ ...whole(), NEON_API_URL });
  expect(start).toThrow("NEON_API_URL is not well formed. Set it to ");
});

it("refuses to start without the binding EMAIL where that is to send mail", () => {
  const start = () => readSettings({ ...whole(), MAIL_URL: "cloudflare" });
  expect(start).toThrow("the binding EMAIL is missing");
});
