import { openAPIRouteHandler } from "hono-openapi";
import * as v from "valibot";
import type { Hono } from "hono";
import { factory, type Edge } from "../context.ts";
import { pingDatabase } from "../db/client.ts";
import { operation } from "../http/openapi.ts";
import { valid } from "../http/valid.ts";
import { jwks } from "../identity/access-token.ts";
import { Problem, PROBLEMS, type ProblemCode } from "../problem.ts";
import { tenantObject } from "../tenant/ask.ts";

const tag = "Platform";
const Health = v.object({ status: v.literal("ok") });
const Jwks = v.object({ keys: v.array(v.looseObject({ kty: v.string(), kid: v.string() })) });
const ByCode = v.object({ code: v.picklist(Object.keys(PROBLEMS) as ProblemCode[]) });

/** The service itself: is it up, which keys sign its tokens, what do its errors mean. */
export const platform = factory
  .createApp()
  .get(
    "/health",
    operation({ summary: "Is the Worker up", tag, answers: { 200: Health }, token: false }),
    (c) => c.json({ status: "ok" as const }),
  )
  .get(
    "/ready",
    operation({
      summary: "Do Postgres and the Durable Objects answer",
      tag,
      answers: { 200: Health },
      token: false,
    }),
    async (c) => {
      const parts = {
        postgres: pingDatabase(),
        // The object of no tenant: it holds nothing.
        durable_object: tenantObject(c.env.TENANT, "ready").ping(),
      };
      const results = await Promise.allSettled(Object.values(parts));
      const down = Object.keys(parts).filter((_, index) => results[index]?.status === "rejected");
      if (down.length > 0) {
        throw new Problem("unavailable", {
          detail: `Out of reach: ${down.join(", ")}.`,
          headers: { "retry-after": "5" },
          cause: results
            .flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []))
            .join("; "),
        });
      }
      return c.json({ status: "ok" as const });
    },
  )
  .get(
    "/.well-known/jwks.json",
    operation({
      summary: "The public keys that verify access tokens",
      tag,
      answers: { 200: Jwks },
      token: false,
    }),
    (c) => {
      c.header("Cache-Control", "public, max-age=300");
      return c.json(jwks);
    },
  )
  .get(
    "/problems/:code",
    operation({
      summary: "What a problem means",
      tag,
      answers: { 200: null },
      token: false,
      problems: ["not_found"],
    }),
    valid("param", ByCode),
    (c) => {
      const { title, status, help } = PROBLEMS[c.req.valid("param").code];
      return c.text(`${title} (${status})\n\n${help}\n`);
    },
  );

/** The OpenAPI 3.1 document of an app's routes. */
export const describeApi = (app: Hono<Edge>) =>
  openAPIRouteHandler<Edge>(app, {
    defaultValidationErrorResponse: false,
    excludeStaticFile: false,
    documentation: {
      openapi: "3.1.0",
      info: {
        title: "partywall",
        version: "0.1.0",
        description: "A multi-tenant backend: each tenant sees its own data, within its own limits.",
      },
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } } },
    },
  });
