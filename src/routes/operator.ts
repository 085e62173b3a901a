import type { Context } from "hono";
import * as v from "valibot";
import { factory, forRequest, type Edge } from "../context.ts";
import { openOperatorDb } from "../db/client.ts";
import { JOB_OUTCOMES } from "../db/control.ts";
import { floodGuard } from "../edge/flood-guard.ts";
import { operatorOnly } from "../edge/operator-only.ts";
import { answerPage, pageOf, PageQuery, type PageStart } from "../http/page.ts";
import { valid } from "../http/valid.ts";
import { erasureList, moveList, operatorEventList, operatorList } from "../lifecycle/operator-lists.ts";
import { nameSchemas, operation } from "../openapi/operation.ts";
import { OPERATOR_ROLES, TAKES } from "../operator.ts";
import { Uuid } from "../values.ts";

const tag = "Operator";

const Whose = v.object({ id: v.string(), slug: v.nullable(v.string()) });
const OperatorEvent = v.object({
  id: v.string(),
  created_at: v.string(),
  /** Of scripts and the command line, the id is all zeros. */
  actor: v.object({ id: v.string(), name: v.string() }),
  action: v.string(),
  /** The slug is null once it is erased. */
  tenant: v.nullable(Whose),
  reason: v.nullable(v.string()),
  /** What was changed, by its name: from what, to what. */
  change: v.record(v.string(), v.unknown()),
  request_id: v.nullable(v.string()),
});
const MOVE_KINDS = ["move", "clear", "restore"] as const;
const Move = v.object({
  id: v.string(),
  tenant: Whose,
  kind: v.picklist(MOVE_KINDS),
  source: v.string(),
  target: v.string(),
  /** Null while it is under way. */
  outcome: v.nullable(v.picklist(JOB_OUTCOMES)),
  progress: v.object({
    phase: v.nullable(v.string()),
    rows: v.nullable(v.number()),
    bytes: v.nullable(v.number()),
    total: v.nullable(v.number()),
  }),
  started_at: v.string(),
  worked_at: v.string(),
  finished_at: v.nullable(v.string()),
});
const Erasure = v.object({
  id: v.string(),
  receipt: v.nullable(v.string()),
  requested_at: v.string(),
  finished_at: v.nullable(v.string()),
});
const ListedOperator = v.object({
  id: v.string(),
  email: v.string(),
  role: v.picklist(OPERATOR_ROLES),
  signed_in_at: v.nullable(v.string()),
  /** Since when they are removed. */
  disabled_at: v.nullable(v.string()),
  created_at: v.string(),
});
nameSchemas({ OperatorEvent, Move, Erasure, ListedOperator });

const EventsQuery = v.object({
  ...PageQuery.entries,
  tenant_id: v.optional(Uuid),
  actor_id: v.optional(Uuid),
});

const MovesQuery = v.object({ ...PageQuery.entries, tenant_id: v.optional(Uuid) });

const dbOf = (c: Context<Edge>) => openOperatorDb(forRequest(c));
const READER = { reader: "operator" };

/** What the console lists beside the tenants, newest first. */
export const operatorRoutes = factory
  .createApp()
  .get(
    "/events",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorEvents", {
      summary: "List what operators did, to whom and why, newest first",
      tag,
      answers: { 200: pageOf(OperatorEvent) },
      token: "operator",
    }),
    valid("query", EventsQuery),
    (c) =>
      answerPage(
        c,
        async (page) => {
          const { found } = await dbOf(c).read({ found: operatorEventList(page) });
          return found;
        },
        READER,
      ),
  )
  .get(
    "/moves",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorMoves", {
      summary: "List the moves and restores of tenants, newest first",
      tag,
      answers: { 200: pageOf(Move) },
      token: "operator",
    }),
    valid("query", MovesQuery),
    (c) =>
      answerPage(
        c,
        async (page) => {
          const { found } = await dbOf(c).read({ found: moveList(page) });
          return found;
        },
        { ...READER, place: ({ started_at }) => started_at },
      ),
  )
  .get(
    "/erasures",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperatorErasures", {
      summary: "List the erasures, newest first",
      tag,
      answers: { 200: pageOf(Erasure) },
      token: "operator",
    }),
    valid("query", PageQuery),
    (c) =>
      answerPage(
        c,
        async (page) => {
          const { found } = await dbOf(c).read({ found: erasureList(page) });
          return found;
        },
        { ...READER, place: ({ requested_at }) => requested_at },
      ),
  )
  .get(
    "/operators",
    floodGuard,
    operatorOnly(TAKES.read),
    operation("listOperators", {
      summary: "List the operators, those who are removed too, newest first",
      tag,
      answers: { 200: pageOf(ListedOperator) },
      token: "operator",
    }),
    valid("query", PageQuery),
    (c) =>
      answerPage(
        c,
        async (page: PageStart) => {
          const { found } = await dbOf(c).read({ found: operatorList(page) });
          return found;
        },
        READER,
      ),
  );
