type Asking = { headers?: Record<string, string>; timeoutMs: number; maxBytes: number };

/**
 * A small JSON document from another host. Follows no redirect: it would lead anywhere, and the headers with it. Throws an error
 * that names the URL and what was wrong, and nothing of what was sent or answered.
 */
export async function fetchSmallJson(
  url: string,
  { headers, timeoutMs, maxBytes }: Asking,
): Promise<unknown> {
  const answer = await fetch(url, {
    redirect: "manual",
    headers: { accept: "application/json", ...headers },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (answer.status !== 200 || !answer.body) {
    await answer.body?.cancel();
    throw new Error(`${url} answered ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.byteLength;
    // Leaving the loop ends the transfer.
    if (size > maxBytes) throw new Error(`${url} is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    // The parser's own words quote the document.
    throw new SyntaxError(`${url} answered no JSON`);
  }
}
