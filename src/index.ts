import { app } from "./app.ts";
import { turnAway } from "./edge/turn-away.ts";
import { sweep } from "./lifecycle/sweep.ts";

export default {
  fetch: (request, env, ctx) => turnAway(request) ?? app.fetch(request, env, ctx),
  scheduled: ({ scheduledTime }) => sweep(scheduledTime),
} satisfies ExportedHandler<Env>;
export { Lifecycle } from "./lifecycle/workflow.ts";
export { Tenant } from "./tenant/object.ts";
