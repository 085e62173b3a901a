import { app } from "./app.ts";
import { turnAway } from "./edge/turn-away.ts";

export default {
  fetch: (request, env, ctx) => turnAway(request) ?? app.fetch(request, env, ctx),
} satisfies ExportedHandler<Env>;
export { Tenant } from "./tenant/object.ts";
