export const PRODUCT_PROBLEMS = {
  status_not_reached: {
    status: 409,
    title: "The invoice cannot come to this status",
    help: "A draft is sent or voided, and what was sent is paid or voided.",
  },
} as const;
