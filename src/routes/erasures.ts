import * as v from "valibot";
import { factory } from "../context.ts";
import { erasureOf } from "../db/across-tenants.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { ById, valid } from "../http/valid.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const Erasure = v.object({ id: v.string(), receipt: v.nullable(v.string()) });
nameSchemas({ Erasure });

/** The ledger of erasures, by the ids that the tenants had: for whoever was there, and has no token any more. */
export const erasureRoutes = factory.createApp().get(
  "/:id",
  floodGuard,
  operation("getErasure", {
    summary: "The receipt of a tenant's erasure: a JWS, null while it is under way",
    tag: "Platform",
    answers: { 200: Erasure },
    problems: ["not_found"],
    token: false,
  }),
  valid("param", ById),
  async (c) => {
    const [found] = v.parse(v.array(Erasure), await erasureOf(c.req.valid("param").id));
    if (!found) throw new Problem("not_found");
    return c.json(found);
  },
);
