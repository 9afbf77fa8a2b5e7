"""Builds and installs the clients, once for each state of their sources, into a cache outside of the tree."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx512m"]


class Missing(Exception):
    """Something that no package manager of a client installs."""


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "corelog-tests"


def run(command, **options):
    print("     " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError("%s failed:\n%s" % (command[0], done.stdout[-4000:]))


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Missing("`%s` is not installed" % program)


def fresh(name, sources, build):
    """The directory that `build(directory)` filled for this state of the sources."""
    digest = hashlib.sha256()
    for source in sorted(path for top in sources for path in ([top] if top.is_file() else top.rglob("*"))):
        if source.is_file() and "__pycache__" not in source.parts:
            digest.update(str(source.relative_to(HERE)).encode() + b"\0" + source.read_bytes() + b"\0")
    directory = cache() / ("%s-%s" % (name, digest.hexdigest()[:16]))
    if not directory.exists():
        # Built beside and renamed when whole: an interrupted installation is never taken for one.
        directory.parent.mkdir(parents=True, exist_ok=True)
        for old in directory.parent.glob(name + "-*"):
            shutil.rmtree(old)
        unfinished = directory.with_name(name + "-unfinished")
        unfinished.mkdir()
        build(unfinished)
        unfinished.rename(directory)
    return directory


def kcat():
    need("kcat")
    return [sys.executable, str(HERE / "kcat" / "client.py")]


def python(program):
    def build(directory):
        run([sys.executable, "-m", "venv", directory / "venv"])
        run([directory / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--requirement", HERE / "python" / "requirements.txt"])

    directory = fresh("python", [HERE / "python" / "requirements.txt"], build)
    return [str(directory / "venv" / "bin" / "python"), "-B", str(HERE / "python" / program)]


def maven(module):
    def build(directory):
        need("mvn", "java")
        shutil.copytree(HERE / module, directory / "build")
        run(["mvn", "--quiet", "--batch-mode", "package"], cwd=directory / "build")

    directory = fresh(module, [HERE / module / "pom.xml", HERE / module / "src"], build) / "build" / "target"
    return [*JAVA, "-cp", "%s:%s/*" % (directory / "classes", directory / "libs")]


def java():
    return [*maven("java"), "org.corelog.tests.Program"]


def topic_command(arguments):
    """Kafka's own command line."""
    return [*maven("topic-command"), "org.apache.kafka.tools.TopicCommand", *arguments]


def topic_command_checks(bootstrap, topic, kind):
    return [*maven("topic-command"), "org.corelog.tests.TopicCommandChecks", bootstrap, topic, kind]


def config_command_checks(bootstrap, topic, kind):
    return [*maven("topic-command"), "org.corelog.tests.ConfigCommandChecks", bootstrap, topic, kind]


def admin_tool_checks(bootstrap, topic, kind):
    return [*maven("topic-command"), "org.corelog.tests.AdminToolChecks", bootstrap, topic, kind]


def go(package):
    def build(directory):
        need("go")
        for each in ("franz", "sarama"):
            run(["go", "build", "-mod=readonly", "-o", directory / each, "./" + each], cwd=HERE / "go")

    return [str(fresh("go", [HERE / "go"], build) / package)]


def kafkajs():
    def build(directory):
        need("node", "npm")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "kafkajs" / name, directory / name)
        run(["npm", "ci", "--no-audit", "--no-fund"], cwd=directory)

    package = HERE / "kafkajs"
    directory = fresh("kafkajs", [package / "package.json", package / "package-lock.json"], build)
    return ["env", "NODE_PATH=%s" % (directory / "node_modules"), "node", str(package / "client.js")]


def rdkafka():
    """Cargo is its own cache. The features are those of the whole workspace, so that librdkafka is built once."""
    need("cargo")
    command = ["cargo", "build", "--release", "--workspace", "--bin", "client-rdkafka", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("cargo build failed:\n" + done.stderr[-4000:])
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "client-rdkafka":
            return [message["executable"]]
    raise RuntimeError("cargo built no client-rdkafka")
