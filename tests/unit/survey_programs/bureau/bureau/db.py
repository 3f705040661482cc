from sqlalchemy import select

from bureau.schema import ProfileRow


class ProfileRepository:
    def __init__(self, session):
        self.session = session

    async def save(self, profile):
        self.session.add(ProfileRow(name=profile.name, facts=profile.facts))
        await self.session.commit()

    async def by_name(self, name):
        return await self.session.scalar(select(ProfileRow).where(ProfileRow.name == name))

    async def find_alike(self, vector, limit=5):
        rows = await self.session.execute(
            select(ProfileRow).order_by(ProfileRow.vector.l2_distance(vector)).limit(limit)
        )
        return rows.scalars().all()
