import worker from "../../../src/index.ts";
import { Tenant as Prompt } from "../../../src/tenant/object.ts";

/** What the objects, which run in the same isolate, take longer for each call, and how many calls they have had. */
let delayMs = 0;
let calls = 0;

/** The deployed class, as slow as it is told to be. */
export class Tenant extends Prompt {
  override async admit(...call: Parameters<Prompt["admit"]>): ReturnType<Prompt["admit"]> {
    calls += 1;
    await scheduler.wait(delayMs);
    return super.admit(...call);
  }

  override async ping(): Promise<void> {
    calls += 1;
    await scheduler.wait(delayMs);
  }
}

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/test/slow") return worker.fetch(request, env, ctx);
    delayMs = Number(searchParams.get("ms"));
    return Response.json({ calls });
  },
} satisfies ExportedHandler<Env>;
