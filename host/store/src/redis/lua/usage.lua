-- What the bucket holds, and where it stands.
return { 'ok', int(now), due(), int(entries), int(bytes), int(version) }
