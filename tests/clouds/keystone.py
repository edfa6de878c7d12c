"""A stand-in for OpenStack's Keystone, written from the Identity API v3 reference: tokens by password
and by application credential, unscoped or of a project or the system, with roles and the catalog;
their validation, the groups of a user, and the shapes of its errors."""

import datetime
import itertools
import uuid
from dataclasses import dataclass

from .server import Answer, Request, Service

STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


def error(code: int, title: str, message: str) -> Answer:
    return Answer(code, {"error": {"code": code, "title": title, "message": message}})


def unauthorized() -> Answer:
    return Answer(401, {"error": {"code": 401, "title": "Unauthorized", "message":
                                  "The request you have made requires authentication."}},
                  {"WWW-Authenticate": 'Keystone uri="https://localhost/v3"'})


@dataclass
class Token:
    user: str
    expires: datetime.datetime
    methods: tuple = ("password",)
    project: str | None = None
    system: bool = False

    @property
    def scoped(self) -> bool:
        return self.system or self.project is not None


class Keystone(Service):
    def __init__(self, tls):
        self.domains = {"default": "Default"}  # id: name
        self.users = {}  # id: {name, domain, password, groups}
        self.groups = {}  # id: (name, domain)
        self.projects = {}  # id: (name, domain)
        self.roles = {}  # (user id, project id, or "system"): names
        self.credentials = {}  # id: {name, secret, user, project, roles}
        self.catalog = []  # what services put into it
        self.tokens: dict[str, Token] = {}
        self.life = datetime.timedelta(hours=1)
        self.policy_hides_groups = False
        self._ids = itertools.count(1)
        super().__init__(tls)

    def domain(self, name: str) -> str:
        found = [i for i, n in self.domains.items() if n == name]
        if found:
            return found[0]
        domain = uuid.UUID(int=next(self._ids)).hex
        self.domains[domain] = name
        return domain

    def group(self, name: str, domain="Default") -> str:
        key = (name, self.domain(domain))
        found = [i for i, g in self.groups.items() if g == key]
        if found:
            return found[0]
        group = uuid.UUID(int=next(self._ids)).hex
        self.groups[group] = key
        return group

    def user(self, name: str, password: str, groups=(), domain="Default") -> str:
        """groups: names in the default domain, or (name, domain)."""
        user = uuid.UUID(int=next(self._ids)).hex
        self.users[user] = {
            "name": name, "domain": self.domain(domain), "password": password,
            "groups": [self.group(*((g,) if isinstance(g, str) else g)) for g in groups],
        }
        return user

    def project(self, name: str, domain="Default") -> str:
        key = (name, self.domain(domain))
        found = [i for i, p in self.projects.items() if p == key]
        if found:
            return found[0]
        project = uuid.UUID(int=next(self._ids)).hex
        self.projects[project] = key
        return project

    def assign(self, user: str, role: str, project: str = "system"):
        """Gives a user a role in a project, by id, or in the system."""
        self.roles.setdefault((user, project), []).append(role)

    def application_credential(self, user: str, project: str, name: str, secret: str,
                               roles=None) -> str:
        credential = uuid.UUID(int=next(self._ids)).hex
        self.credentials[credential] = {"name": name, "secret": secret, "user": user,
                                        "project": project, "roles": roles}
        return credential

    def service(self, kind: str, name: str, url: str, region="RegionOne"):
        """A service in the catalog, with the same URL for everybody."""
        self.catalog.append({"type": kind, "name": name, "id": uuid.UUID(int=next(self._ids)).hex,
                             "endpoints": [{"id": uuid.UUID(int=next(self._ids)).hex,
                                            "interface": interface, "region": region,
                                            "region_id": region, "url": url}
                                           for interface in ("public", "internal", "admin")]})

    def token(self, user: str, life: datetime.timedelta | None = None, **scope) -> str:
        token = "gAAAAAB" + uuid.uuid4().hex * 5  # the length of a Fernet token
        now = datetime.datetime.now(datetime.timezone.utc)
        self.tokens[token] = Token(user, now + (self.life if life is None else life), **scope)
        return token

    def expire_tokens(self):
        """All tokens that were given out are too old from now on."""
        for token in self.tokens.values():
            token.expires = datetime.datetime.now(datetime.timezone.utc)

    def roles_of(self, token: Token) -> list[str]:
        return self.roles.get((token.user, "system" if token.system else token.project), [])

    def who(self, token: str | None) -> Token | None:
        """The token as services see it, if it is good."""
        found = self.tokens.get(token or "")
        if (not found or found.user not in self.users
                or found.expires <= datetime.datetime.now(datetime.timezone.utc)):
            return None
        return found

    def _valid(self, token: str | None) -> str | None:
        found = self.who(token)
        return found.user if found else None

    def _domain(self, domain: str) -> dict:
        return {"id": domain, "name": self.domains[domain]}

    def _token_body(self, name: str, catalog=False) -> dict:
        token = self.tokens[name]
        row = self.users[token.user]
        body = {
            "methods": list(token.methods),
            "user": {"id": token.user, "name": row["name"], "password_expires_at": None,
                     "domain": self._domain(row["domain"])},
            "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "expires_at": token.expires.strftime(STAMP),
            "issued_at": (token.expires - self.life).strftime(STAMP),
        }
        if token.project:
            project, domain = self.projects[token.project]
            body["project"] = {"id": token.project, "name": project,
                               "domain": self._domain(domain)}
            body["is_domain"] = False
        if token.system:
            body["system"] = {"all": True}
        if token.scoped:
            body["roles"] = [{"id": uuid.uuid5(uuid.NAMESPACE_DNS, role).hex, "name": role}
                             for role in self.roles_of(token)]
        if token.scoped and catalog:
            body["catalog"] = self.catalog
        return {"token": body}

    def handle(self, request: Request) -> Answer:
        if request.path in ("/", "/v3", "/v3/") and request.method == "GET":
            return self._versions(request)
        if request.path == "/v3/auth/tokens" and request.method == "POST":
            return self._log_in(request)
        if request.path == "/v3/auth/tokens" and request.method == "GET":
            return self._validate(request)
        parts = request.path.split("/")
        if request.method == "GET" and parts[:3] == ["", "v3", "users"] and parts[4:] == ["groups"]:
            return self._groups_of(request, parts[3])
        return error(404, "Not Found", "The resource could not be found.")

    def _versions(self, request: Request) -> Answer:
        version = {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
                   "links": [{"rel": "self", "href": f"{self.url}/v3/"}],
                   "media-types": [{"base": "application/json",
                                    "type": "application/vnd.openstack.identity-v3+json"}]}
        if request.path == "/":
            return Answer(300, {"versions": {"values": [version]}})
        return Answer(200, {"version": version})

    def _user_of(self, given: dict) -> str | None:
        if "id" in given:
            return given["id"] if given["id"] in self.users else None
        domain = given["domain"].get("id") or self.domain(given["domain"]["name"])
        return next((user for user, row in self.users.items()
                     if (row["name"], row["domain"]) == (given["name"], domain)), None)

    def _project_of(self, given: dict) -> str | None:
        if "id" in given:
            return given["id"] if given["id"] in self.projects else None
        domain = given["domain"].get("id") or self.domain(given["domain"]["name"])
        return next((i for i, p in self.projects.items() if p == (given["name"], domain)), None)

    def _log_in(self, request: Request) -> Answer:
        assert request.headers["content-type"] == "application/json"
        asked = request.json()["auth"]
        identity, scope = asked["identity"], asked.get("scope")
        match identity["methods"]:
            case ["password"]:
                found = self._by_password(identity["password"]["user"], scope)
            case ["application_credential"]:
                found = self._by_credential(identity["application_credential"], scope)
            case _:
                return error(400, "Bad Request", "no such method here")
        if isinstance(found, Answer):
            return found
        user, more = found
        token = self.token(user, methods=tuple(identity["methods"]), **more)
        return Answer(201, self._token_body(token, catalog="nocatalog" not in request.query),
                      {"X-Subject-Token": token, "Vary": "X-Auth-Token"})

    def _by_password(self, given: dict, scope: dict | None):
        user = self._user_of(given)
        if not user or self.users[user]["password"] != given["password"]:
            return unauthorized()
        if not scope or scope == "unscoped":
            return user, {}
        if scope.get("system", {}).get("all"):
            place, more = "system", {"system": True}
        else:
            place = self._project_of(scope["project"])
            more = {"project": place}
        # Without a role there, as without the project: no token.
        return (user, more) if place and self.roles.get((user, place)) else unauthorized()

    def _by_credential(self, given: dict, scope: dict | None):
        if scope:
            return error(401, "Unauthorized", "Application credentials cannot request a scope.")
        if "id" in given:
            row = self.credentials.get(given["id"])
        else:
            owner = self._user_of(given["user"])
            row = next((c for c in self.credentials.values()
                        if (c["name"], c["user"]) == (given["name"], owner)), None)
        if not row or row["secret"] != given["secret"]:
            return unauthorized()
        return row["user"], {"project": row["project"]}

    def _validate(self, request: Request) -> Answer:
        subject = request.headers.get("x-subject-token")
        if not self._valid(request.headers.get("x-auth-token")):
            return unauthorized()
        if not self._valid(subject):
            return error(404, "Not Found", "Could not find token.")
        return Answer(200, self._token_body(subject, catalog="nocatalog" not in request.query),
                      {"X-Subject-Token": subject})

    def _groups_of(self, request: Request, user: str) -> Answer:
        asker = self._valid(request.headers.get("x-auth-token"))
        if not asker:
            return unauthorized()
        if asker != user or self.policy_hides_groups:
            return error(403, "Forbidden", "You are not authorized to perform the requested action: "
                                           "identity:list_groups_for_user.")
        groups = [{"id": g, "name": self.groups[g][0], "domain_id": self.groups[g][1],
                   "description": "", "links": {"self": f"{self.url}/v3/groups/{g}"}}
                  for g in self.users[user]["groups"]]
        return Answer(200, {"groups": groups, "links": {"self": self.url, "previous": None,
                                                        "next": None}})
