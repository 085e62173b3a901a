import * as v from "valibot";
import { factory } from "../../../src/context.ts";
import { admit } from "../../../src/edge/admit.ts";
import { floodGuard } from "../../../src/edge/flood-guard.ts";
import { identifyKey } from "../../../src/edge/identify.ts";
import { needs } from "../../../src/edge/needs.ts";
import { valid } from "../../../src/http/valid.ts";
import type { Scope } from "../../../src/authority.ts";
import { operation } from "../../../src/openapi/operation.ts";
import { projects } from "./schema.ts";

const ByKey = v.object({ key: v.pipe(v.string(), v.maxLength(200)) });
const Event = v.strictObject({ name: v.pipe(v.string(), v.minLength(1), v.maxLength(200)) });

/** A webhook: what a service calls that sends no header of ours. Its URL has an API key of the tenant. */
export const productPages = factory.createApp().post(
  "/hooks/:key",
  floodGuard,
  operation("receiveHook", {
    summary: "Another service tells of a new project",
    tag: { name: "Projects", description: "What the tenant works on." },
    answers: { 200: v.object({ made: v.array(v.object({ id: v.string() })) }) },
    description: "The API key is in the URL, not in a header.",
  }),
  valid("param", ByKey),
  identifyKey((c) => c.req.param("key")),
  admit,
  // The types know the scopes of src/product, which this product takes the place of.
  needs("projects:write" as string as Scope),
  valid("json", Event),
  async (c) => {
    const made = c.get("db").write((q) => ({
      made: q.insert(projects).values(c.req.valid("json")).returning({ id: projects.id }),
    }));
    return c.json(await made);
  },
);
