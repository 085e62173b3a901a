import worker from "../../../src/index.ts";

/** The deployed Worker, and beside it the least that it costs the runtime to answer anything. */
export default {
  fetch: (request, env, ctx) =>
    request.url.endsWith("/bench/constant") ? new Response("{}") : worker.fetch(request, env, ctx),
} satisfies ExportedHandler<Env>;
export { Tenant } from "../../../src/tenant/object.ts";
