CREATE TABLE "api_keys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"name" text NOT NULL,
	"scopes" text[] NOT NULL,
	"hash" "bytea" NOT NULL,
	"hint" text NOT NULL,
	"created_by" uuid NOT NULL,
	"vouched_by" uuid,
	"expires_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "invitations" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"email" text NOT NULL,
	"role" text NOT NULL,
	"token_hash" "bytea" NOT NULL,
	"invited_by" uuid NOT NULL,
	"vouched_by" uuid,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "email_is_lower_case" CHECK (email = lower(email)),
	CONSTRAINT "role_known" CHECK (role in ('viewer', 'member', 'admin', 'owner'))
);
--> statement-breakpoint
ALTER TABLE "invitations" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "issuers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"issuer" text NOT NULL,
	"audience" text NOT NULL,
	"role_claim" text,
	"role_map" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"default_role" text,
	"email_domains" text[] NOT NULL,
	"just_in_time" boolean DEFAULT false NOT NULL,
	"domains_since" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"registered_by" uuid NOT NULL,
	"vouched_by" uuid,
	"suspended_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "default_role_known" CHECK (default_role in ('viewer', 'member', 'admin')),
	CONSTRAINT "role_map_size" CHECK (jsonb_array_length(jsonb_path_query_array(role_map, '$.keyvalue()')) <= 100
        and octet_length(role_map::text) <= 16384)
);
--> statement-breakpoint
ALTER TABLE "issuers" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "memberships" (
	"tenant_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "memberships_tenant_id_user_id_pk" PRIMARY KEY("tenant_id","user_id"),
	CONSTRAINT "role_known" CHECK (role in ('viewer', 'member', 'admin', 'owner'))
);
--> statement-breakpoint
ALTER TABLE "memberships" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "outbox" (
	"tenant_id" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"kind" text NOT NULL,
	"subject" uuid NOT NULL,
	"version" bigint,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_tenant_id_seq_pk" PRIMARY KEY("tenant_id","seq"),
	CONSTRAINT "kind_known" CHECK (kind in ('tenant', 'api_key', 'floor'))
);
--> statement-breakpoint
ALTER TABLE "outbox" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "outbox_heads" (
	"tenant_id" uuid PRIMARY KEY NOT NULL,
	"head" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "outbox_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"refresh_hash" "bytea",
	"issuer_id" uuid,
	"user_agent" text DEFAULT '' NOT NULL,
	"rotated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "sessions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "tenants" (
	"id" uuid PRIMARY KEY NOT NULL,
	"slug" text NOT NULL,
	"name" text NOT NULL,
	"plan" text NOT NULL,
	"status" text DEFAULT 'active' NOT NULL,
	"limits" jsonb,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "slug_is_a_host_label" CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	CONSTRAINT "status_known" CHECK (status in ('active', 'suspended', 'closing'))
);
--> statement-breakpoint
ALTER TABLE "tenants" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "users" (
	"id" uuid PRIMARY KEY NOT NULL,
	"email" text NOT NULL,
	"password_hash" text,
	"issuer_id" uuid,
	"subject" text,
	"email_verified_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "email_is_lower_case" CHECK (email = lower(email)),
	CONSTRAINT "subject_of_issuer" CHECK ((issuer_id is null) = (subject is null))
);
--> statement-breakpoint
ALTER TABLE "users" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_maker" FOREIGN KEY ("tenant_id","created_by") REFERENCES "public"."memberships"("tenant_id","user_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "issuers" ADD CONSTRAINT "issuers_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "outbox" ADD CONSTRAINT "outbox_tenant_id_outbox_heads_tenant_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."outbox_heads"("tenant_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "outbox_heads" ADD CONSTRAINT "outbox_heads_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_membership" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."memberships"("tenant_id","user_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_hash" ON "api_keys" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "api_keys_newest" ON "api_keys" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "api_keys_of_maker" ON "api_keys" USING btree ("tenant_id","created_by");--> statement-breakpoint
CREATE UNIQUE INDEX "invitations_email" ON "invitations" USING btree ("tenant_id","email");--> statement-breakpoint
CREATE INDEX "invitations_newest" ON "invitations" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "issuers_issuer" ON "issuers" USING btree ("tenant_id","issuer","audience");--> statement-breakpoint
CREATE INDEX "issuers_newest" ON "issuers" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "issuers_of_token" ON "issuers" USING btree ("issuer","audience");--> statement-breakpoint
CREATE INDEX "memberships_user" ON "memberships" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "memberships_newest" ON "memberships" USING btree ("tenant_id","created_at","user_id");--> statement-breakpoint
CREATE INDEX "sessions_user" ON "sessions" USING btree ("tenant_id","user_id","created_at");--> statement-breakpoint
CREATE INDEX "sessions_issuer" ON "sessions" USING btree ("issuer_id");--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_slug" ON "tenants" USING btree ("slug");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email" ON "users" USING btree ("email") WHERE issuer_id is null;--> statement-breakpoint
CREATE UNIQUE INDEX "users_subject" ON "users" USING btree ("issuer_id","subject");--> statement-breakpoint
CREATE POLICY "one_tenant" ON "api_keys" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "invitations" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "issuers" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "memberships" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "outbox" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "outbox_heads" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "sessions" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or tenant_id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "own_tenant" ON "tenants" AS PERMISSIVE FOR ALL TO public USING (id = (select current_tenant_id())) WITH CHECK (id = (select current_tenant_id()));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "tenants" AS RESTRICTIVE FOR ALL TO public USING ((select context_tenant_id()) is null or id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or id = (select context_tenant_id()));--> statement-breakpoint
CREATE POLICY "identity_all" ON "tenants" AS PERMISSIVE FOR ALL TO "partywall_identity" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "operator_all" ON "tenants" AS PERMISSIVE FOR ALL TO "partywall_operator" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "one_tenant" ON "users" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or exists (select from memberships m where m.user_id = users.id) or issuer_id in (select i.id from issuers i)) WITH CHECK ((select context_tenant_id()) is null or (issuer_id is null and exists (select from memberships m where m.user_id = users.id)) or issuer_id in (select i.id from issuers i));