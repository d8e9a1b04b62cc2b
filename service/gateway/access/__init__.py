"""Who may call: authentication, rate limits, and the cache of rejections."""
