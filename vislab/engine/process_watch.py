"""Terminate all processes of a run when one of them fails or is killed.

A collective operation does not detect that another process has ended; with NCCL it waits until a timeout of minutes.
Therefore each process keeps a TCP connection to process 0. A process that fails or finishes sends a message before it
ends, so a connection that closes without a message is that of a killed process. One error message is printed: by the
process that failed, or, if it was killed, by process 0 (by process 1 if process 0 was killed).
"""

import atexit
import contextlib
import json
import logging
import os
import queue
import socket
import sys
import threading
import time
import traceback
from typing import Any

from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from mmengine.logging import MMLogger, print_log

from vislab import cli

_GRACE = 1.0  # seconds to wait for the message of the failed process and for subsequent errors
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # detects a machine without power after 30 s
_watch: "ProcessWatch | None" = None


def watch_processes(work_dir: str) -> None:
    """Start watching the processes of this run. Called on each process after the process group is initialized.

    Args:
        work_dir: Work directory, for the error message.
    """
    global _watch
    if get_world_size() == 1:
        return
    if _watch is None:
        watch = ProcessWatch(get_rank(), get_world_size())
        address: list[Any] = [watch.listen() if get_rank() == 0 else None]
        broadcast_object_list(address)
        try:
            if get_rank() > 0:
                watch.join(os.environ.get("MASTER_ADDR", "127.0.0.1"), *address[0])
        except OSError as error:
            print_log(
                f"process {get_rank()} cannot reach process 0 ({error}): if another process dies, this one ends only "
                "when a collective fails (env_cfg.dist_cfg.timeout)",
                logger="current",
                level=logging.WARNING,
            )
        watch.install()
        _watch = watch
    _watch.work_dir = work_dir


class ProcessWatch:
    """Connections of one process.

    Args:
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size, self.work_dir = rank, world_size, ""
        self._lock = threading.Lock()
        self._failed: int | None = None  # the first failed process known to this one
        self._answers: queue.Queue[bool] = queue.Queue()
        self._connections: dict[int, socket.socket] = {}
        self._server: socket.socket | None = None
        self._token = ""

    # ------------------------------------------------------------------------------------------------- connections

    def listen(self) -> tuple[int, str]:
        """Accept connections on a free port (process 0); returns the port and the token of the other processes."""
        self._server, self._token = socket.create_server(("", 0)), os.urandom(16).hex()
        self._close_in_children(self._server)
        threading.Thread(target=self._accept, daemon=True, name="process watch").start()
        return self._server.getsockname()[1], self._token

    def join(self, host: str, port: int, token: str) -> None:
        """Connect to process 0 (other processes).

        Raises:
            OSError: If process 0 cannot be reached.
        """
        connection = socket.create_connection((host, port), timeout=20)
        connection.settimeout(None)
        self._connections[0] = connection
        self._send(0, {"token": token, "rank": self.rank, "pid": os.getpid(), "host": socket.gethostname()})
        self._hear(connection, connection.makefile("r"), 0, "process 0")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
                connection.settimeout(20)
                lines = connection.makefile("r")
                hello = json.loads(lines.readline(1000) or "{}")
                connection.settimeout(None)
            except (OSError, ValueError):
                if self._server.fileno() < 0:
                    return
                continue
            if hello.get("token") != self._token:
                connection.close()
                continue
            self._connections[hello["rank"]] = connection
            name = f"process {hello['rank']} (number {hello['pid']} on {hello['host']})"
            self._hear(connection, lines, hello["rank"], name)

    def _hear(self, connection: socket.socket, lines: Any, rank: int, name: str) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._close_in_children(connection)
        threading.Thread(target=self._follow, args=(lines, rank, name), daemon=True, name="process watch").start()

    @staticmethod
    def _close_in_children(connection: socket.socket) -> None:
        """Close the connection in forked data loading processes, which would keep it open."""
        os.register_at_fork(after_in_child=lambda: os.close(connection.detach()))

    def _send(self, rank: int, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, KeyError):
            self._connections[rank].sendall(f"{json.dumps(message)}\n".encode())

    # ---------------------------------------------------------------------------------------------------- messages

    def _follow(self, lines: Any, rank: int, name: str) -> None:
        """Handle the messages of another process; runs in a thread until the connection is closed."""
        finished = False
        try:
            for line in lines:
                message = json.loads(line)
                if "failed" in message:
                    self._answer_failure(rank, name, message["failed"])
                elif "end" in message:
                    self._be_first(message["end"])
                    self._answers.put(False)  # if this process failed too: process 0 may end before it answers
                    self._leave()
                elif "may_print" in message:
                    self._answers.put(message["may_print"])
                finished |= "finished" in message
        except (OSError, ValueError):
            pass
        if not finished and self._be_first(rank):
            if self.rank == (1 if rank == 0 else 0):
                saved = f" Checkpoints are in {self.work_dir}; continue with --resume." if self.work_dir else ""
                text = (
                    f"{name} of {self.world_size} has ended without a message: it was killed, perhaps for lack of "
                    f"memory, or its machine is down. All processes end.{saved}"
                )
                print(f"error: {text}", file=sys.stderr, flush=True)
                self._log(text)
            self._end_others(rank)
            self._leave()

    def _answer_failure(self, rank: int, name: str, text: str) -> None:
        first = self._be_first(rank)
        self._send(rank, {"may_print": first})
        if first:
            self._log(f"{name} of {self.world_size} has failed, and all processes end: {text}")
            self._end_others(rank)
            self._leave()

    def _be_first(self, rank: int) -> bool:
        """Record that a process failed; returns whether it is the first one."""
        with self._lock:
            first, self._failed = self._failed is None, rank if self._failed is None else self._failed
            return first

    def _end_others(self, rank: int) -> None:
        for other in list(self._connections):
            if self.rank == 0 and other != rank:
                self._send(other, {"end": rank})

    def _leave(self) -> None:
        """End this process, even if its main thread is blocked."""
        if self._failed == self.rank:
            return  # is ending with its own message
        time.sleep(_GRACE)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)

    def _log(self, text: str) -> None:
        """Write to the log file only, since the message is printed to the terminal already."""
        logger = MMLogger.get_current_instance()
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), None)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)

    # ----------------------------------------------------------------------------------------- end of this process

    def install(self) -> None:
        """Register handlers that notify the other processes when this one fails or finishes."""
        cli.may_print = self.tell_failure
        previous = sys.excepthook

        def tell_and_print(kind: type, error: BaseException, trace: Any) -> None:
            if self.tell_failure("".join(traceback.format_exception(kind, error, trace))):
                previous(kind, error, trace)

        sys.excepthook = tell_and_print
        atexit.register(self._finish)

    def tell_failure(self, text: str) -> bool:
        """Notify all processes that this one fails, so that they end; returns whether to print `text`.

        Returns False if another process failed before, since this failure is probably a consequence.
        """
        time.sleep(_GRACE / 2)  # collectives fail at the same time as the process that caused the failure
        if not self._be_first(self.rank):
            time.sleep(2 * _GRACE)  # meanwhile the thread ends this process
            return False
        if self.rank == 0:
            self._end_others(0)
            return True
        self._send(0, {"failed": text})
        try:
            return self._answers.get(timeout=5)
        except queue.Empty:
            return True

    def _finish(self) -> None:
        if self._failed is None:
            for other in list(self._connections):
                self._send(other, {"finished": True})
