/**
 * The product's own problems, by their codes, beside partywall's in src/problem.ts. A route names those that it may answer,
 * and a handler throws one: `throw new Problem("invoice_sent")`.
 *
 *     invoice_sent: { status: 409, title: "The invoice has been sent", help: "Make a new one instead." },
 */
export const PRODUCT_PROBLEMS = {} as const;
