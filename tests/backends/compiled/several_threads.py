"""Call a kernel on three threads, no matter how many the environment allows."""

from threading import Thread


def on_three_threads(kernel, *args):
    threads = [Thread(target=kernel, args=args) for _ in range(2)]
    for thread in threads:
        thread.start()
    kernel(*args)
    for thread in threads:
        thread.join()
