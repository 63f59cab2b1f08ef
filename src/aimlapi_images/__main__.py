"""`python -m aimlapi_images` is the command `aimlapi-images`."""

from aimlapi_images.cli import main

if __name__ == "__main__":
    main()
