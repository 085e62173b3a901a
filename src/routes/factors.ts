import * as v from "valibot";
import { factory } from "../context.ts";
import { listFactors, renameFactor } from "../db/accounts.ts";
import { whileClosing } from "../edge/access.ts";
import { recently, signedIn } from "../edge/needs.ts";
import { ById, valid } from "../http/valid.ts";
import { selfOf } from "../identity/accounts.ts";
import { Code, Registration } from "../identity/factor-proof.ts";
import {
  addFactor,
  confirmFactor,
  FactorName,
  FactorSetup,
  NewFactor,
  removeFactor,
  renewRecoveryCodes,
  ShownFactor,
} from "../identity/factors.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { Problem } from "../problem.ts";

const tag = "Account";

const Factor = ShownFactor;
const Factors = v.object({ data: v.array(Factor), next_cursor: v.null() });
const FactorPatch = v.partial(v.strictObject({ name: FactorName }));
const Confirmation = v.strictObject({ code: v.optional(Code), response: v.optional(Registration) });
const RecoveryCodes = v.object({ recovery_codes: v.array(v.string()) });
const Confirmed = v.object({ ...Factor.entries, recovery_codes: v.optional(v.array(v.string())) });
nameSchemas({
  Factor,
  NewFactor,
  FactorPatch,
  FactorSetup,
  FactorConfirmation: Confirmation,
  ConfirmedFactor: Confirmed,
  RecoveryCodes,
});

/** The second factors of the caller's own account. To add or remove one takes a recent proof of who calls. */
export const factorRoutes = factory
  .createApp()
  .get(
    "/",
    operation("listFactors", {
      summary: "List your second factors, newest first",
      tag,
      answers: { 200: Factors },
    }),
    whileClosing,
    async (c) => {
      const rows = await listFactors(selfOf(signedIn(c.get("caller"))));
      return c.json({ data: v.parse(v.array(Factor), rows), next_cursor: null });
    },
  )
  .post(
    "/",
    operation("createFactor", {
      summary: "Begin to add a second factor; it counts once it is confirmed",
      tag,
      answers: { 201: FactorSetup },
      problems: ["step_up_required", "too_many_factors"],
    }),
    whileClosing,
    valid("json", NewFactor),
    async (c) => c.json(await addFactor(recently(c.get("caller")), c.req.valid("json")), 201),
  )
  .patch(
    "/:id",
    operation("updateFactor", {
      summary: "Rename a second factor (merge patch)",
      tag,
      answers: { 200: Factor },
      problems: ["not_found"],
    }),
    whileClosing,
    valid("param", ById),
    valid("json", FactorPatch),
    async (c) => {
      const self = selfOf(signedIn(c.get("caller")));
      const rows = await renameFactor(self, c.req.valid("param").id, c.req.valid("json").name);
      const [row] = v.parse(v.array(Factor), rows);
      if (!row) throw new Problem("not_found");
      return c.json(row);
    },
  )
  .delete(
    "/:id",
    operation("deleteFactor", {
      summary: "Remove a second factor; with the last one the recovery codes go",
      tag,
      answers: { 204: null },
      problems: ["not_found", "step_up_required", "factor_required"],
    }),
    whileClosing,
    valid("param", ById),
    async (c) => {
      await removeFactor(recently(c.get("caller")), c.req.valid("param").id);
      return c.body(null, 204);
    },
  )
  .post(
    "/:id/confirm",
    operation("confirmFactor", {
      summary: "Confirm a second factor by a proof of it; the first one comes with recovery codes",
      tag,
      answers: { 200: Confirmed },
      problems: ["not_found", "wrong_factor", "step_up_required"],
    }),
    whileClosing,
    valid("param", ById),
    valid("json", Confirmation),
    async (c) => {
      const caller = recently(c.get("caller"));
      const { id } = c.req.valid("param");
      const codes = await confirmFactor(caller, id, c.req.valid("json"));
      const rows = v.parse(v.array(Factor), await listFactors(selfOf(caller)));
      const row = rows.find((factor) => factor.id === id);
      if (!row) throw new Problem("not_found");
      return c.json({ ...row, ...(codes && { recovery_codes: codes }) });
    },
  );

export const recoveryCodeRoutes = factory.createApp().post(
  "/",
  operation("createRecoveryCodes", {
    summary: "Make new recovery codes; those before are void",
    tag,
    answers: { 200: RecoveryCodes },
    problems: ["not_found", "step_up_required"],
  }),
  whileClosing,
  async (c) => c.json({ recovery_codes: await renewRecoveryCodes(recently(c.get("caller"))) }),
);
