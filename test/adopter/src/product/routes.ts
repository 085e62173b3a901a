import { factory } from "../context.ts";
import { attachmentRoutes } from "./attachments.ts";
import { customerRoutes } from "./customers.ts";
import { invoiceRoutes } from "./invoices.ts";
import { noteRoutes } from "./notes.ts";
import { reportRoutes } from "./reports.ts";
import { tagRoutes } from "./tags.ts";

/** The routes of what is built on partywall. They are mounted at `/v1`, behind identify and admit. */
export const productRoutes = factory
  .createApp()
  .route("/notes", noteRoutes)
  .route("/customers", customerRoutes)
  .route("/invoices", invoiceRoutes)
  .route("/attachments", attachmentRoutes)
  .route("/tags", tagRoutes)
  .route("/reports", reportRoutes);
