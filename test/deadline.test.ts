import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import { factory } from "../src/context.ts";
import { answerProblem, inTime, observe } from "../src/edge/gateway.ts";

const TWENTY_SECONDS = 20_000;
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
const app = factory
  .createApp()
  .use(observe, inTime)
  .all("/prompt", (c) => c.json(c.get("deadline").bound(5_000)))
  .all("/hangs", () => new Promise<Response>(() => undefined))
  .all("/adds-up", async (c) => {
    const bounds: number[] = [];
    for (let wait = 0; wait < 4; wait++) {
      bounds.push(c.get("deadline").bound(8_000));
      await new Promise((resolve) => setTimeout(resolve, 8_000));
    }
    return c.json(bounds);
  })
  .onError(answerProblem);

it.each(["GET", "POST"])(
  "a %s that waits for something that never comes is answered 503 in 20 s",
  async (method) => {
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.useFakeTimers();
    let answer: Response | undefined;
    const asked = Promise.resolve(app.request("/hangs", { method }, env, context)).then(
      (got) => (answer = got),
    );
    await vi.advanceTimersByTimeAsync(TWENTY_SECONDS - 1);
    expect(answer).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    const { status, headers } = await asked;
    expect(status).toBe(503);
    expect(headers.get("retry-after")).toBe("5");
    expect(headers.get("content-type")).toBe("application/problem+json");
    expect(log).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  },
);

it("bounds that are each short enough add up to no more", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.useFakeTimers();
  const started = Date.now();
  const asked = Promise.resolve(app.request("/adds-up", {}, env, context)).then((got) => [
    got.status,
    Date.now() - started,
  ]);
  await vi.advanceTimersByTimeAsync(4 * 8_000);
  expect(await asked).toEqual([503, TWENTY_SECONDS]);
});

it("an answer in time leaves no timer behind", async () => {
  vi.useFakeTimers();
  const answer = await app.request("/prompt", {}, env, context);
  expect([answer.status, await answer.json()]).toEqual([200, 5_000]);
  expect(vi.getTimerCount()).toBe(0);
});
