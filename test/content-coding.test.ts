import { beforeAll, expect, it } from "vitest";
import { gzipSync } from "node:zlib";
import { answered, PASSWORD, request, signedUp, type SignedIn } from "./support/client.ts";

let ada: SignedIn;
beforeAll(async () => {
  ada = await signedUp();
});

const FORM = "application/x-www-form-urlencoded";
const routes = (): [path: string, method: string, body: string, type: string][] => [
  ["/v1/projects", "POST", '{"name":"Roof"}', "application/json"],
  ["/v1/tenant", "PATCH", "{}", "application/merge-patch+json"],
  ["/v1/sessions", "POST", JSON.stringify({ email: ada.user.email, password: PASSWORD }), "application/json"],
  ["/v1/token", "POST", "grant_type=x", FORM],
];
const send = (
  [path, method, body, type]: ReturnType<typeof routes>[number],
  coding: string,
  encode: (body: string) => Uint8Array = (text) => Buffer.from(text),
) =>
  request(method, path, {
    token: ada.token,
    body: encode(body),
    headers: { "content-type": type, "content-encoding": coding },
  });

it.each(["gzip", "GZIP", "br", "identity, gzip", "x-unknown", "deflate,gzip"])(
  "a body in the content coding %s is answered with 415 that asks for none",
  async (coding) => {
    for (const route of routes()) {
      const response = await send(route, coding, (body) => gzipSync(body));
      expect(response.headers.get("accept-encoding")).toBe("identity");
      expect(await answered(415, response)).toMatchObject({ type: "/problems/unsupported_media_type" });
    }
  },
);

it.each(["identity", "Identity", "identity, identity", ""])(
  "a body in the content coding %s is as it is",
  async (coding) => {
    for (const route of routes()) expect((await send(route, coding)).status).not.toBe(415);
  },
);
