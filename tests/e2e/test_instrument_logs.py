"""Records are exported from INFO, and what the program prints stays byte for byte, however it sets logging up."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.receiver import attributes, both, receiving

BODY = """
log = logging.getLogger("app.part")
log.debug("d %s", 1); log.info("i %s", 2); log.warning("w %s", 3)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
logging.LoggerAdapter(log, {"a": 1}).info("adapted")
log.log(logging.INFO, "logged", extra={"company": "ACME"})
print(log.isEnabledFor(logging.INFO), log.isEnabledFor(logging.WARNING), log.hasHandlers(), log.getEffectiveLevel())
print(logging.LoggerAdapter(log, {}).isEnabledFor(logging.INFO), logging.root.handlers == [] , logging.lastResort)
"""
ALL = ["i 2", "w 3", "failed", "adapted", "logged"]

SETUPS = {
    "no handler at all": "",
    "basicConfig": "logging.basicConfig(format='%(name)s %(filename)s:%(lineno)d %(funcName)s %(message)s')",
    "basicConfig info": "logging.basicConfig(level='INFO', format='%(filename)s:%(lineno)d %(message)s')",
    "basicConfig force": (
        "logging.basicConfig(); logging.basicConfig(force=True, level=logging.ERROR, stream=sys.stdout)"
    ),
    "dictConfig that disables": (
        "logging.getLogger('app.part')\n"
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True,\n"
        "  'handlers': {'h': {'class': 'logging.StreamHandler'}}, 'root': {'handlers': ['h'], 'level': 'INFO'}})"
    ),
    "fileConfig": (
        "open('log.ini', 'w').write('[loggers]\\nkeys=root\\n[handlers]\\nkeys=h\\n[formatters]\\nkeys=f\\n'\n"
        "  '[logger_root]\\nlevel=WARNING\\nhandlers=h\\n'\n"
        "  '[handler_h]\\nclass=StreamHandler\\nformatter=f\\nargs=(sys.stdout,)\\n'\n"
        "  '[formatter_f]\\nformat=%(levelname)s %(message)s\\n')\n"
        "logging.config.fileConfig('log.ini')"
    ),
    "no propagation": (
        "log = logging.getLogger('app'); log.propagate = False; log.addHandler(logging.StreamHandler(sys.stdout))"
    ),
    "a null handler": "logging.getLogger('app').addHandler(logging.NullHandler())",
    "a handler that fails": (
        "class Bad(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        try: raise OSError('disk full')\n"
        "        except OSError: print('handled', record.getMessage())\n"
        "logging.root.addHandler(Bad())"
    ),
    "everything in the record is printed": (
        "class All(logging.Formatter):\n"
        "    def format(self, record): return ' '.join(sorted(vars(record)))\n"
        "h = logging.StreamHandler(); h.setFormatter(All()); logging.root.addHandler(h)"
    ),
}


@pytest.mark.parametrize("setup", SETUPS)
def test_the_console_stays_and_records_are_exported_from_info(setup: str, tmp_path: Path) -> None:
    script = f"import logging, logging.config, sys\n{SETUPS[setup]}\n{BODY}"
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert receiver.bodies() == ALL
        logged = attributes(receiver.logs()[-1])
        assert logged["company"] == "ACME"
        failed = attributes(receiver.logs()[2])
        assert failed["exception.type"] == "ZeroDivisionError"


CASES = {
    "a filter that drops": (
        "log.addFilter(lambda r: 'secret' not in r.msg)\nlog.warning('secret'); log.warning('open')",
        ["open"],
    ),
    "a filter does not run for what the console would not make": (
        "log.addFilter(lambda r: print('filter saw', r.msg) or True)\nlog.info('quiet'); log.warning('loud')",
        ["quiet", "loud"],
    ),
    "logging.disable is obeyed": (
        "logging.disable(logging.WARNING)\nlog.info('i'); log.warning('w'); log.error('e')",
        ["e"],
    ),
    "a handler that raises ends the call as before": (
        "class Bad(logging.Handler):\n"
        "    def handle(self, record): raise OSError('full')\n"
        "log.addHandler(Bad())\n"
        "try: log.warning('w')\n"
        "except OSError as e: print(e)",
        ["w"],
    ),
    "a record handed over is handled": (
        "logging.basicConfig()\nlog.handle(logging.LogRecord('n', logging.INFO, 'f', 1, 'remote %s', ('r',), None))",
        ["remote r"],
    ),
    "an unguarded _log still prints": ("logging.basicConfig()\nlog._log(logging.INFO, 'direct', ())", ["direct"]),
    "arguments that do not fit are reported once": ("logging.basicConfig()\nlog.warning('%d', 'x')", ["%d"]),
    "arguments that do not fit below the console's level are silent": ("log.info('%d', 'x')", ["%d"]),
    "an argument that logs": (
        "class A:\n    def __str__(self):\n        log.info('inner'); return 'a'\n"
        "logging.basicConfig()\nlog.warning('outer %s', A())",
        ["outer a", "inner"],
    ),
    "a subclass with its own handle is left alone": (
        "class L(logging.Logger):\n"
        "    def handle(self, record): print('own', record.msg); super().handle(record)\n"
        "logging.setLoggerClass(L)\nmine = logging.getLogger('mine')\nmine.info('quiet'); mine.warning('loud')",
        ["loud"],
    ),
    "captured warnings": (
        "import warnings\nlogging.captureWarnings(True)\nwarnings.warn('old', stacklevel=1)",
        None,
    ),
    "module functions": ("logging.info('root info'); logging.warning('root warning')", ["root info", "root warning"]),
    "stacklevel": (
        "logging.basicConfig(format='%(funcName)s %(lineno)d %(message)s')\n"
        "def helper(): log.warning('from', stacklevel=2)\n"
        "def caller(): helper()\n"
        "caller()",
        ["from"],
    ),
    "a coloured level stays on the console": (
        "class F(logging.Formatter):\n"
        "    def format(self, r): r.levelname = '\\x1b[31m' + r.levelname; return super().format(r)\n"
        "h = logging.StreamHandler(); h.setFormatter(F('%(levelname)s %(message)s')); log.addHandler(h)\n"
        "log.error('red')",
        ["red"],
    ),
    "threads": (
        "import threading\nt = threading.Thread(target=lambda: log.info('in a thread')); t.start(); t.join()",
        ["in a thread"],
    ),
    "a hook at the end of the program": ("import atexit\natexit.register(lambda: log.info('bye'))", ["bye"]),
    "a record that is handled again": (
        "class Again(logging.Handler):\n"
        "    def emit(self, record): logging.getLogger('other').handle(record)\n"
        "log.addHandler(Again())\n"
        "for n in range(3): log.warning('once')",
        ["once"] * 3,
    ),
    "a record that comes out of a queue": (
        "import queue, logging.handlers\n"
        "waiting = queue.Queue(); log.addHandler(logging.handlers.QueueHandler(waiting))\n"
        "for n in range(3): log.warning('once %d', n)\n"
        "while not waiting.empty(): logging.getLogger('other').handle(waiting.get())",
        ["once 0", "once 1", "once 2"],
    ),
    "arguments that do not fit, or have no text": (
        "logging.raiseExceptions = False\n"
        "class Odd:\n"
        "    def __str__(self): raise RuntimeError('no text')\n"
        "log.warning('%d pages of %s', 'many'); log.warning('of %s', Odd()); log.warning('sound')",
        ["%d pages of %s", "of %s", "sound"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_unusual_uses_of_logging_behave_as_before(case: str, tmp_path: Path) -> None:
    code, expected = CASES[case]
    with receiving() as receiver:
        both(f"import logging, sys\nlog = logging.getLogger('app')\n{code}\n", receiver, tmp_path)
        if expected is not None:
            assert receiver.bodies() == expected
        for record in receiver.logs():
            assert attributes(record)["correlation.id"]
            assert record.severity_text.isalpha()


STRUCTLOG = {
    "default": "",
    "json": "structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])",
    "filtered": (
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30),\n"
        "  processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])"
    ),
    "named": (
        "structlog.configure(processors=[lambda l, n, e: {**e, 'logger': 'app'}, structlog.processors.JSONRenderer()])"
    ),
    "stdlib": (
        "logging.basicConfig(format='%(message)s', stream=sys.stdout, level='INFO')\n"
        "structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(),\n"
        "  wrapper_class=structlog.stdlib.BoundLogger,\n"
        "  processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()])"
    ),
}


@pytest.mark.parametrize("setup", STRUCTLOG)
def test_structlog_events_are_exported_once(setup: str, tmp_path: Path) -> None:
    script = (
        f"import logging, sys, structlog\n{STRUCTLOG[setup]}\n"
        "if not structlog.is_configured(): structlog.configure(processors=[structlog.processors.KeyValueRenderer()])\n"
        "log = structlog.get_logger('app')\nlog.warning('page read', pages=3)\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert receiver.bodies() == ["page read"]
        (record,) = receiver.logs()
        assert attributes(record)["pages"] == 3
        assert record.severity_text == "WARN"
        assert record.time_unix_nano or record.observed_time_unix_nano
        (scope,) = (s.scope.name for r in receiver.requests for rl in r.resource_logs for s in rl.scope_logs)
        assert scope == ("app" if setup in ("stdlib", "named") else "structlog")


@pytest.mark.case("structlogs_processors")
def test_structlogs_processors_are_copied_as_the_program_configured_them(tmp_path: Path) -> None:
    script = (
        "import copy, pickle, structlog\n"
        "structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])\n"
        "given = structlog.get_config()['processors']\n"
        "for made in (copy.copy(given), copy.deepcopy(given), pickle.loads(pickle.dumps(given))):\n"
        "    print(type(made).__name__, len(made), [type(one).__name__ for one in made])\n"
        "structlog.get_logger().warning('told')\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert receiver.bodies() == ["told"]


def test_uvicorns_loggers_that_do_not_propagate_are_exported(tmp_path: Path) -> None:
    script = (
        "import logging.config, uvicorn.config\n"
        "logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)\n"
        "logging.getLogger('uvicorn.error').info('started')\n"
        "logging.getLogger('uvicorn.access').info('%s - \"%s %s HTTP/%s\" %d', '1.2.3.4:5', 'GET', '/x', '1.1', 200)\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert receiver.bodies() == ["started", '1.2.3.4:5 - "GET /x HTTP/1.1" 200']
