"""A stand-in for OpenStack's Keystone, written from the Identity API v3 reference: tokens by password
and their validation, the groups of a user, and the shapes of its errors."""

import datetime
import itertools
import uuid

from .server import Answer, Request, Service


def error(code: int, title: str, message: str) -> Answer:
    return Answer(code, {"error": {"code": code, "title": title, "message": message}})


def unauthorized() -> Answer:
    return Answer(401, {"error": {"code": 401, "title": "Unauthorized", "message":
                                  "The request you have made requires authentication."}},
                  {"WWW-Authenticate": 'Keystone uri="https://localhost/v3"'})


class Keystone(Service):
    def __init__(self, tls):
        self.domains = {"default": "Default"}  # id: name
        self.users = {}  # id: {name, domain, password, groups}
        self.groups = {}  # id: (name, domain)
        self.tokens = {}  # token: (user id, expires)
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

    def token(self, user: str, life: datetime.timedelta | None = None) -> str:
        token = "gAAAAAB" + uuid.uuid4().hex * 5  # the length of a Fernet token
        now = datetime.datetime.now(datetime.timezone.utc)
        self.tokens[token] = user, now + (self.life if life is None else life)
        return token

    def _valid(self, token: str | None):
        user, expires = self.tokens.get(token or "", (None, None))
        if user not in self.users or expires <= datetime.datetime.now(datetime.timezone.utc):
            return None
        return user

    def _token_body(self, token: str) -> dict:
        user, expires = self.tokens[token]
        row = self.users[user]
        stamp = "%Y-%m-%dT%H:%M:%S.%fZ"
        return {"token": {
            "methods": ["password"],
            "user": {"id": user, "name": row["name"], "password_expires_at": None,
                     "domain": {"id": row["domain"], "name": self.domains[row["domain"]]}},
            "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "expires_at": expires.strftime(stamp),
            "issued_at": (expires - self.life).strftime(stamp),
        }}

    def handle(self, request: Request) -> Answer:
        if request.path == "/v3/auth/tokens" and request.method == "POST":
            return self._log_in(request)
        if request.path == "/v3/auth/tokens" and request.method == "GET":
            return self._validate(request)
        parts = request.path.split("/")
        if request.method == "GET" and parts[:3] == ["", "v3", "users"] and parts[4:] == ["groups"]:
            return self._groups_of(request, parts[3])
        return error(404, "Not Found", "The resource could not be found.")

    def _log_in(self, request: Request) -> Answer:
        identity = request.json()["auth"]["identity"]
        assert identity["methods"] == ["password"]
        assert request.headers["content-type"] == "application/json"
        given = identity["password"]["user"]
        domain = given["domain"].get("id") or self.domain(given["domain"]["name"])
        for user, row in self.users.items():
            if (row["name"], row["domain"], row["password"]) == (given["name"], domain,
                                                                 given["password"]):
                token = self.token(user)
                return Answer(201, self._token_body(token),
                              {"X-Subject-Token": token, "Vary": "X-Auth-Token"})
        return unauthorized()

    def _validate(self, request: Request) -> Answer:
        subject = request.headers.get("x-subject-token")
        if not self._valid(request.headers.get("x-auth-token")):
            return unauthorized()
        if not self._valid(subject):
            return error(404, "Not Found", "Could not find token.")
        return Answer(200, self._token_body(subject), {"X-Subject-Token": subject})

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
