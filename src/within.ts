/**
 * The promise's value, or an error when it takes longer than `ms`. What it waited for goes on, until the request ends.
 * `scheduler.wait` and not setTimeout: with nodejs_compat that one makes an object with methods, at ten times the price.
 */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const late = scheduler.wait(ms).then(() => {
    throw new Error(`no answer within ${ms} ms`);
  });
  return Promise.race([promise, late]);
}
