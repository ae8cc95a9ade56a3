module memorystack.dev/pause

go 1.26
