"""The playground: a page on which anyone plays inside a dream, in the browser itself."""
