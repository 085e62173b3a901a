/** The promise's value, or an error when it takes longer than `ms`. What it waited for goes on, until the request ends. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    // A timer that a request leaves behind costs more than all the rest of its waiting.
    clearTimeout(timer);
  }
}
