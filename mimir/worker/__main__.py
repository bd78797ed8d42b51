"""`python -m mimir.worker`: what the image and every provider start on a machine."""

from mimir.worker.supervisor import main

if __name__ == "__main__":
    main()
