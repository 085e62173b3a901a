CREATE TABLE "control"."challenges" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid,
	"tenant_id" uuid,
	"amr" text[] DEFAULT '{}' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "control"."challenges" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."factors" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"type" text NOT NULL,
	"name" text NOT NULL,
	"confirmed_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"secret" text,
	"last_step" bigint,
	"credential_id" text,
	"public_key" "bytea",
	"counter" bigint,
	"transports" text[],
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "type_known" CHECK (type in ('totp', 'passkey'))
);
--> statement-breakpoint
ALTER TABLE "control"."factors" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."mailed_links" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"user_id" uuid,
	"email" text NOT NULL,
	"token_hash" "bytea" NOT NULL,
	"data" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "kind_known" CHECK (kind in ('verification', 'signup', 'reset', 'email_change', 'email_undo'))
);
--> statement-breakpoint
ALTER TABLE "control"."mailed_links" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."recovery_codes" (
	"user_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "recovery_codes_user_id_hash_pk" PRIMARY KEY("user_id","hash")
);
--> statement-breakpoint
ALTER TABLE "control"."recovery_codes" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."sessions" ADD COLUMN "twin_hash" "bytea";--> statement-breakpoint
ALTER TABLE "control"."sessions" ADD COLUMN "country" text;--> statement-breakpoint
ALTER TABLE "control"."sessions" ADD COLUMN "auth_at" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."sessions" ADD COLUMN "amr" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "require_second_factor" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."users" ADD COLUMN "name" text;--> statement-breakpoint
ALTER TABLE "control"."users" ADD COLUMN "locale" text;--> statement-breakpoint
ALTER TABLE "control"."users" ADD COLUMN "factor_failures" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."users" ADD COLUMN "factor_failed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "control"."challenges" ADD CONSTRAINT "challenges_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "control"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."challenges" ADD CONSTRAINT "challenges_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."factors" ADD CONSTRAINT "factors_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "control"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."mailed_links" ADD CONSTRAINT "mailed_links_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "control"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."recovery_codes" ADD CONSTRAINT "recovery_codes_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "control"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "challenges_expired" ON "control"."challenges" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "challenges_of_user" ON "control"."challenges" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "challenges_of_tenant" ON "control"."challenges" USING btree ("tenant_id");--> statement-breakpoint
CREATE UNIQUE INDEX "factors_credential" ON "control"."factors" USING btree ("credential_id");--> statement-breakpoint
CREATE INDEX "factors_of_user" ON "control"."factors" USING btree ("user_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "factors_pending" ON "control"."factors" USING btree ("user_id","type") WHERE confirmed_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "mailed_links_latest" ON "control"."mailed_links" USING btree ("user_id","kind") WHERE kind <> 'email_undo';--> statement-breakpoint
CREATE INDEX "mailed_links_of_user" ON "control"."mailed_links" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "mailed_links_expired" ON "control"."mailed_links" USING btree ("expires_at");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."challenges" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id()) and exists (select from control.memberships m where m.user_id = challenges.user_id)) WITH CHECK (tenant_id = (select control.current_tenant_id()) and exists (select from control.memberships m where m.user_id = challenges.user_id));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."challenges" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."factors" AS PERMISSIVE FOR ALL TO public USING (exists (select from control.memberships m where m.user_id = factors.user_id)) WITH CHECK (exists (select from control.memberships m where m.user_id = factors.user_id));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."factors" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."mailed_links" AS PERMISSIVE FOR ALL TO public USING (exists (select from control.memberships m where m.user_id = mailed_links.user_id)) WITH CHECK (exists (select from control.memberships m where m.user_id = mailed_links.user_id));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."mailed_links" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."recovery_codes" AS PERMISSIVE FOR ALL TO public USING (exists (select from control.memberships m where m.user_id = recovery_codes.user_id)) WITH CHECK (exists (select from control.memberships m where m.user_id = recovery_codes.user_id));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."recovery_codes" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);